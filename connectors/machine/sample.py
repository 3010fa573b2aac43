"""One sample of the processor time counters. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """The counters at one moment. Only differences between two samples have a meaning.

    Attributes:
        at: When the sample was taken, in seconds of a clock that never goes back.
        busy: Processor seconds that everything on the machine, or in the cgroup, has used.
        own: Processor seconds that the sink and its Postgres processes have used; part of `busy`. Never goes back.
        capacity: Processors of the machine, or the quota of the cgroup.
        stalled: Seconds in which some task waited, one number per resource (Linux pressure stall information). Empty if
            the kernel does not report them.
    """

    at: float
    busy: float
    own: float
    capacity: float
    stalled: tuple[float, ...] = ()
