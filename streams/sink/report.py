"""What a running sink says of itself: its gate, its backlog, its health. Pure; in this form `/status` gives it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from streams.settings import Settings
from streams.sink.gate.rule import REOPEN, GateReason, GateState


class Health(StrEnum):
    """The worst that is true of a sink."""

    OK = "ok"
    WAITING = "waiting"  # the gate is closed, as it should be while the machine is busy
    RETRYING = "retrying"  # Postgres or Kafka does not answer
    DANGER = "danger"  # Kafka will soon forget what is not written


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class GateReport(_Report):
    """The gate. Shares are 0 to 1; a limit is None where there is none.

    Attributes:
        is_open: whether a slice may be written.
        reason: why, as a word for machines: one of `streams.sink.gate.rule.GateReason`.
        why: the same, for people.
        utilization: of the CPU by everybody else; None where not known.
        limit: of the utilization.
        pressure: the share of time in which some task stalled; None where unknown.
        pressure_limit: of the pressure.
        since: when it last opened or closed.
    """

    is_open: bool
    reason: str
    why: str
    utilization: float | None
    limit: float | None
    pressure: float | None
    pressure_limit: float | None
    since: datetime


class PartitionReport(_Report):
    """What waits in a partition: how many records, and for how many seconds the oldest; None where none waits."""

    partition: int
    records: int
    oldest_s: float | None


class TopicReport(_Report):
    """A topic, as far as this sink has its partitions.

    Attributes:
        topic: its name.
        retention_s: how long Kafka keeps a record, in seconds; None for ever.
        in_danger: whether the backlog comes near that.
        written: records since the start.
        last_write: when a transaction was last committed; None if none was since the start.
        trouble: why the last write, or the last look at the servers, failed; None if it did not.
        partitions: the backlog.
    """

    topic: str
    retention_s: float | None
    in_danger: bool
    written: int
    last_write: datetime | None
    trouble: str | None
    partitions: tuple[PartitionReport, ...]

    @property
    def oldest_s(self) -> float | None:
        """Age of the oldest record that waits, in seconds; None where none does."""
        return max((one.oldest_s for one in self.partitions if one.oldest_s is not None), default=None)


class BackfillReport(_Report):
    """The last backfill that came to its end: what it compared, found and filled."""

    ended_at: datetime
    ranges: int
    rows: int
    holes: int
    windows_missing: int
    windows_behind: int
    rows_filled: int
    windows_filled: int
    gaps: int


class SinkReport(_Report):
    """A running sink.

    Attributes:
        health: the worst that is true of it.
        reasons: in words; empty where the health is ok.
        version: of emostream.
        started_at: when the sink was started.
        gate: the gate.
        topics: what it writes.
        backfill: the last one; None if there was none since the start.
    """

    health: Health
    reasons: tuple[str, ...]
    version: str
    started_at: datetime
    gate: GateReport
    topics: tuple[TopicReport, ...]
    backfill: BackfillReport | None


def percent(share: float) -> str:
    """A share, 0 to 1, for people."""
    return f"{round(100 * share, 1):g} %"


def age(seconds: float) -> str:
    """A duration for people, in its two largest units."""
    left = max(0, int(seconds))  # clocks differ
    parts: list[tuple[int, str]] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def gate_report(state: GateState, settings: Settings) -> GateReport:
    """What the gate has decided, and why."""
    forced = state.reason is GateReason.FORCED
    pressure_limit = settings.sink_pressure_percent
    return GateReport(
        is_open=state.is_open,
        reason=state.reason,
        why=_why(state, settings),
        utilization=state.utilization,
        limit=None if forced else settings.sink_cpu_percent / 100,
        pressure=state.pressure,
        pressure_limit=None if forced or pressure_limit is None else pressure_limit / 100,
        since=datetime.fromtimestamp(state.since, UTC),
    )


def _why(state: GateState, settings: Settings) -> str:
    load = _against("others use {} of the CPU", state.utilization, settings.sink_cpu_percent)
    match state.reason:
        case GateReason.STARTING:
            return "the load is not known yet"
        case GateReason.PRESSURE:
            return _against("tasks stall for {} of the time", state.pressure, settings.sink_pressure_percent or 100)
        case GateReason.CALMING:
            return f"{load}; it must stay low for {settings.sink_calm_s:g} s"
        case GateReason.OVERDUE:
            return f"a record has waited for {age(settings.sink_max_delay_s)} or more; {load}"
        case GateReason.FORCED:
            return "it was told to write whatever the load"
        case GateReason.BUSY | GateReason.IDLE:
            return load


def _against(text: str, share: float | None, limit_percent: float) -> str:
    """`text` with the share, and its limit; of a share that only keeps a closed gate closed, what opens it."""
    if share is None:
        return text.format("an unknown share")
    limit = limit_percent / 100
    opens = f"the limit is {percent(limit)}"
    if REOPEN * limit <= share < limit:
        opens += f", and a closed gate opens below {percent(REOPEN * limit)}"
    return f"{text.format(percent(share))}, {opens}"


def assess_health(gate: GateReport, topics: Sequence[TopicReport]) -> tuple[Health, tuple[str, ...]]:
    """The health of a sink, and everything that speaks against it in words, the worst first."""
    found = [
        (
            Health.DANGER,
            f"{topic.topic}: the oldest record that is not written has waited {age(topic.oldest_s or 0)}, and Kafka "
            f"keeps it {age(topic.retention_s or 0)}",
        )
        for topic in topics
        if topic.in_danger
    ]
    found += [(Health.RETRYING, f"{topic.topic}: {topic.trouble}") for topic in topics if topic.trouble is not None]
    if not gate.is_open:
        found.append((Health.WAITING, f"the gate is closed: {gate.why}"))
    return (found[0][0] if found else Health.OK), tuple(text for _, text in found)
