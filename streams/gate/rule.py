"""Decides whether the machine is idle enough for the sink or the warmer to work. Pure: samples in, a decision out.

For each sample of the CPU counters the rule

1. checks the sample against those before it. If a counter went back or is below zero, if the role's own time is
   above all time, or if there was no sample for `MAX_GAP_S`, the gate is *reset*: it forgets its samples and closes;
2. computes the utilization by others over the last second. The CPU time of the role, and of the Postgres processes that
   work for it, is subtracted: else its own work would close the gate;
3. compares the utilization with the limit. The gate closes with the first sample at or above the limit. It opens when
   the load has been low, below `REOPEN` times the limit, for `calm_s` seconds. So the gate closes at once, and does not
   open and close again and again under a load near the limit;
4. opens the gate whatever the load, if a record has waited for longer than the deadline `max_delay_s`.

With a sample every eighth of a second, a load of twice the limit closes the gate within 0.65 s.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from connectors.machine.sample import Sample

MEAN_S = 1.0
"""Seconds over which utilization is averaged. The counters tick in hundredths of a second: much less would be noise."""

SAMPLE_S = 0.125
"""Seconds between two samples; the other constants suit this interval."""

MAX_GAP_S = 1.0
"""Most seconds between two samples. In a longer gap the process was paused or starved, and the samples are too old."""

REOPEN = 0.9
"""A closed gate opens below this share of the limit."""

_BACKWARDS_S = 0.05
"""Seconds for each processor that the counters may go back: the kernel adds them up while they change."""

_EXCESS = 0.25
"""Tolerance: own time may exceed the machine's busy time by 0.25 CPU-seconds per second and processor (at least one
processor), because the machine's counter has a resolution of 10 ms and misses short bursts."""


class GateReason(StrEnum):
    """Why the gate is open or closed. With the last three reasons it is open."""

    STARTING = "starting"  # there are too few samples, after the start or after a reset
    BUSY = "busy"  # the utilization by others is too high
    PRESSURE = "pressure"  # tasks stall for too much of the time
    CALMING = "calming"  # the load is low, but not yet for `calm_s`
    IDLE = "idle"  # the load is low
    OVERDUE = "overdue"  # a record has waited for longer than the deadline
    FORCED = "forced"  # there is no limit on the load


@dataclass(frozen=True)
class GateState:
    """A decision of the gate. Its values are plain, so that `dataclasses.asdict` gives JSON.

    Attributes:
        is_open: whether the role may work now.
        reason: why the gate is open or closed.
        utilization: CPU utilization by others over the last second, 0 to 1; None if it is not known yet.
        pressure: the share of the last second in which some task stalled, 0 to 1; None if it is unknown.
        since: when the gate last opened or closed, in seconds: on the clock of the samples from `GateRule`, since 1970
            from a `Gate`.
    """

    is_open: bool
    reason: GateReason
    utilization: float | None
    pressure: float | None
    since: float


class GateRule:
    """Decides whether the gate is open, from one sample after the other. Not thread-safe."""

    def __init__(
        self, *, limit: float, calm_s: float, pressure_limit: float | None = None, max_delay_s: float = 0.0
    ) -> None:
        """Begin without samples: the gate is closed for the first second.

        Args:
            limit: Utilization by others at which the gate closes, above 0 and at most 1.
            calm_s: Seconds that the load must have been low before the gate opens.
            pressure_limit: Share of the time, above 0 and at most 1, at which the gate closes if some task stalls for
                it; None for no limit.
            max_delay_s: Deadline: a record that has waited for this many seconds opens the gate; 0 for none.
        """
        self._limit = limit
        self._calm_s = calm_s
        self._pressure_limit = pressure_limit
        self._max_delay_s = max_delay_s
        self._samples: deque[Sample] = deque()
        self._calm_from: float | None = None  # since when the load has been low
        self._idle = False  # the decision by the load alone
        self._overdue = False
        self._state: GateState | None = None
        self.resets = 0
        """How often the gate was reset since the start."""

    def update(self, sample: Sample, oldest_s: float | None = None) -> GateState:
        """Add a sample, and return the decision.

        Args:
            sample: The current counters.
            oldest_s: Age in seconds of the oldest record that is not written; None if no record waits.

        Raises:
            ValueError: There is a limit of the pressure, and the sample has no pressure.
        """
        if self._pressure_limit is not None and not sample.stalled:
            raise ValueError("a limit of the pressure needs samples that have it")
        # Step 1: check the sample against those before it.
        base = self._add(sample)
        utilization = pressure = None
        if base is None:
            reason = GateReason.STARTING
        else:
            # Step 2: compute the utilization by others.
            utilization, pressure = _utilization(base, sample), _pressure(base, sample)
            # Step 3: compare it with the limit.
            reason = self._compare(sample.at, utilization, pressure)
        self._idle = reason is GateReason.IDLE
        # Step 4: open the gate if a record is overdue.
        if self._is_overdue(oldest_s):
            reason = GateReason.OVERDUE
        is_open = reason in {GateReason.IDLE, GateReason.OVERDUE}
        changed = self._state is None or self._state.is_open != is_open
        since = sample.at if self._state is None or changed else self._state.since
        self._state = GateState(is_open, reason, utilization, pressure, since)
        return self._state

    def _add(self, sample: Sample) -> Sample | None:
        """Add the sample; returns the sample of a second before, or None if there is none yet."""
        samples = self._samples
        if samples and not (_may_follow(samples[-1], sample) and _has_plausible_own_time(samples[0], sample)):
            samples.clear()
            self._calm_from = None
            self.resets += 1
        samples.append(sample)
        enough = MEAN_S - SAMPLE_S / 2  # samples are not exactly on time
        while len(samples) > 1 and sample.at - samples[1].at >= enough:
            samples.popleft()
        return samples[0] if sample.at - samples[0].at >= enough else None

    def _compare(self, at: float, utilization: float, pressure: float | None) -> GateReason:
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
        """Returns whether the oldest record is overdue.

        Once it is, it remains so until it is younger than `REOPEN` times the deadline: else the gate would open for one
        record at a time.
        """
        share = REOPEN if self._overdue else 1.0
        self._overdue = self._max_delay_s > 0 and oldest_s is not None and oldest_s >= share * self._max_delay_s
        return self._overdue


def _may_follow(last: Sample, sample: Sample) -> bool:
    """Returns whether the sample is plausible after the last one; False for NaN, which fails each comparison."""
    return (
        last.at < sample.at <= last.at + MAX_GAP_S
        and sample.busy >= max(0.0, last.busy - _BACKWARDS_S * last.capacity)
        and sample.own >= max(0.0, last.own)
        and min(last.capacity, sample.capacity) > 0
        and len(sample.stalled) == len(last.stalled)
    )


def _has_plausible_own_time(base: Sample, sample: Sample) -> bool:
    """Returns whether own time is at most all time since `base`, within the tolerance `_EXCESS`."""
    elapsed = max(sample.at - base.at, MEAN_S)
    return (sample.own - base.own) - (sample.busy - base.busy) <= _EXCESS * elapsed * max(1.0, sample.capacity)


def _utilization(base: Sample, sample: Sample) -> float:
    others = (sample.busy - base.busy) - (sample.own - base.own)
    # If the quota has changed in between, the smaller one counts, under which the load is higher.
    return _share(others, (sample.at - base.at) * min(base.capacity, sample.capacity))


def _pressure(base: Sample, sample: Sample) -> float | None:
    stalls = [now - then for then, now in zip(base.stalled, sample.stalled, strict=True)]
    return _share(max(stalls), sample.at - base.at) if stalls else None


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))
