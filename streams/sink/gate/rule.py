"""Whether the machine is idle enough to write history. Pure: samples in, a decision out; no clock, no system calls.

The gate is a Schmitt trigger with a delay. It closes with the first sample at or above the limit, and opens once every
sample of the last `calm_s` lay below `REOPEN` times the limit. So it yields at once, and does not flap where the load
lies about the limit.

What counts is the load of everybody else, over the last second: the sink's own processor time and that of the Postgres
processes that work for it are taken off, or the sink would stop itself. With a sample every eighth of a second, a load
of twice the limit is seen within 0.65 s of its beginning.

Numbers that cannot be (a counter that goes back or is below zero, own work beyond all work, no sample for a while) are
never acted upon: the gate closes and begins anew.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from connectors.machine.sample import Sample

WINDOW_S = 1.0
"""Utilization is the mean over this long. Counters tick in hundredths of a second, so much less would be noise."""

SAMPLE_S = 0.125
"""The pace of samples that the bounds here are made for."""

MAX_GAP_S = 1.0
"""Between two samples. After more the process was stopped or starved, and what it knew is old."""

REOPEN = 0.9
"""A closed gate opens below this share of the limit: the hysteresis."""

_BACKWARDS_S = 0.05
"""By so much of each processor the kernel's sums may go back: they are added up while they change."""

_EXCESS = 0.25
"""By so much of all processors (of one at least) own work may exceed all work within a window. Processes are metered by
the nanosecond, the machine is sampled a hundred times a second, so work in short bursts looks less there."""


class GateReason(StrEnum):
    """Why the gate is as it is. Open are idle, overdue and forced."""

    STARTING = "starting"  # too few samples yet, or again
    BUSY = "busy"
    PRESSURE = "pressure"
    CALMING = "calming"  # the load is low, but not for long enough
    IDLE = "idle"
    OVERDUE = "overdue"  # a record has waited for too long: open whatever the load
    FORCED = "forced"  # somebody said so


@dataclass(frozen=True)
class GateState:
    """A decision. Made of plain values, so that `dataclasses.asdict` gives JSON.

    Attributes:
        is_open: whether a slice may be written now.
        reason: why.
        utilization: by others, 0 to 1, over the last second; None where not known yet.
        pressure: the share of the last second in which some task stalled, 0 to 1; None where unknown.
        since: when the gate last opened or closed, in seconds: of the samples' clock from `GateRule`, since 1970 from
            the gates of the sink.
    """

    is_open: bool
    reason: GateReason
    utilization: float | None
    pressure: float | None
    since: float


class GateRule:
    """Decides from samples, in order. Not thread-safe."""

    def __init__(
        self, *, limit: float, calm_s: float, pressure_limit: float | None = None, max_delay_s: float = 0.0
    ) -> None:
        """A gate that is closed until it has seen enough.

        Args:
            limit: utilization by others at which it closes, above 0, at most 1.
            calm_s: how long the load must have been low before it opens.
            pressure_limit: the share of stalls at which it closes too, above 0, at most 1; None for no such limit.
            max_delay_s: a record that has waited this long holds it open; 0 for never.
        """
        self._limit = limit
        self._calm_s = calm_s
        self._pressure_limit = pressure_limit
        self._max_delay_s = max_delay_s
        self._samples: deque[Sample] = deque()
        self._calm_from: float | None = None
        self._idle = False  # what the load alone says
        self._overdue = False
        self._state: GateState | None = None
        self.resets = 0
        """How often the numbers could not be and it began anew."""

    def update(self, sample: Sample, oldest_s: float | None = None) -> GateState:
        """Take a sample and decide.

        Args:
            sample: the counters now.
            oldest_s: age of the oldest record that is not written yet, in seconds; None where there is none.

        Raises:
            ValueError: there is a limit of pressure, and the sample does not tell it.
        """
        if self._pressure_limit is not None and not sample.stalled:
            raise ValueError("a limit of pressure needs samples that tell it")
        base = self._remember(sample)
        utilization = pressure = None
        if base is None:
            reason = GateReason.STARTING
        else:
            utilization, pressure = _utilization(base, sample), _pressure(base, sample)
            reason = self._judge(sample.at, utilization, pressure)
        self._idle = reason is GateReason.IDLE
        if self._is_overdue(oldest_s):
            reason = GateReason.OVERDUE
        is_open = reason in {GateReason.IDLE, GateReason.OVERDUE}
        turned = self._state is None or self._state.is_open != is_open
        since = sample.at if self._state is None or turned else self._state.since
        self._state = GateState(is_open, reason, utilization, pressure, since)
        return self._state

    def _remember(self, sample: Sample) -> Sample | None:
        """Keep the sample; returns the one to compare it with, or None where there is none yet."""
        samples = self._samples
        if samples and not (_follows(samples[-1], sample) and _agrees(samples[0], sample)):
            samples.clear()
            self._calm_from = None
            self.resets += 1
        samples.append(sample)
        enough = WINDOW_S - SAMPLE_S / 2  # samples are never quite on time
        while len(samples) > 1 and sample.at - samples[1].at >= enough:
            samples.popleft()
        return samples[0] if sample.at - samples[0].at >= enough else None

    def _judge(self, at: float, utilization: float, pressure: float | None) -> GateReason:
        share = 1.0 if self._idle else REOPEN
        if utilization >= share * self._limit:
            self._calm_from = None
            return GateReason.BUSY
        if self._pressure_limit is not None and pressure is not None and pressure >= share * self._pressure_limit:
            self._calm_from = None
            return GateReason.PRESSURE
        if self._calm_from is None:
            self._calm_from = at
        calm = self._idle or at - self._calm_from >= self._calm_s
        return GateReason.IDLE if calm else GateReason.CALMING

    def _is_overdue(self, oldest_s: float | None) -> bool:
        """With a hysteresis too: once begun, until the backlog is clearly younger, not for one record at a time."""
        share = REOPEN if self._overdue else 1.0
        self._overdue = self._max_delay_s > 0 and oldest_s is not None and oldest_s >= share * self._max_delay_s
        return self._overdue


def _follows(last: Sample, sample: Sample) -> bool:
    """Whether a sample can come after the last one. Worded so that NaN says no."""
    return (
        last.at < sample.at <= last.at + MAX_GAP_S
        and sample.busy >= max(0.0, last.busy - _BACKWARDS_S * last.capacity)
        and sample.own >= max(0.0, last.own)
        and min(last.capacity, sample.capacity) > 0
        and len(sample.stalled) == len(last.stalled)
    )


def _agrees(base: Sample, sample: Sample) -> bool:
    elapsed = max(sample.at - base.at, WINDOW_S)
    return (sample.own - base.own) - (sample.busy - base.busy) <= _EXCESS * elapsed * max(1.0, sample.capacity)


def _utilization(base: Sample, sample: Sample) -> float:
    others = (sample.busy - base.busy) - (sample.own - base.own)
    # A quota may change in between; the smaller one makes more of the load.
    return _share(others, (sample.at - base.at) * min(base.capacity, sample.capacity))


def _pressure(base: Sample, sample: Sample) -> float | None:
    stalls = [now - then for then, now in zip(base.stalled, sample.stalled, strict=True)]
    return _share(max(stalls), sample.at - base.at) if stalls else None


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))
