"""The counters of processor time at one moment. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """Counters at one moment; only their differences count.

    Attributes:
        at: of a clock that never goes back, in seconds.
        busy: processor seconds that everything has used, of the machine or of the cgroup.
        own: of these, the sink's and its Postgres processes'. Never goes back.
        capacity: processors of the machine, or the quota of the cgroup.
        stalled: seconds in which some task waited, one number per resource (Linux pressure stall information); empty
            where unknown.
    """

    at: float
    busy: float
    own: float
    capacity: float
    stalled: tuple[float, ...] = ()
