"""The status of a running sink, as `/status` returns it: its gate, its backlog and its health. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from streams.gate.rule import REOPEN, GateReason, GateState
from streams.settings import Settings


class Health(StrEnum):
    """The health of a sink. If several values apply, it is the last of them."""

    OK = "ok"  # it writes
    WAITING = "waiting"  # the gate is closed, as it should be while the machine is busy
    RETRYING = "retrying"  # Postgres or Kafka does not answer
    DANGER = "danger"  # Kafka will soon delete records that are not written


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class GateReport(_Report):
    """The gate. Utilization, pressure and limits are shares, 0 to 1.

    Attributes:
        is_open: whether the sink may write.
        reason: why the gate is open or closed, a value of `streams.gate.rule.GateReason`.
        why: the reason in words, with figures.
        utilization: CPU utilization by others; None if it is not known.
        limit: the limit of the utilization; None if there is none.
        pressure: the share of the time in which some task stalled; None if it is not known.
        pressure_limit: the limit of the pressure; None if there is none.
        since: when the gate last opened or closed.
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
    """The backlog of a partition.

    Attributes:
        partition: the number of the partition.
        records: the number of records that wait.
        oldest_s: seconds that the oldest of them has waited; None if none waits.
    """

    partition: int
    records: int
    oldest_s: float | None


class TopicReport(_Report):
    """A topic, with the partitions that are assigned to this sink.

    Attributes:
        topic: the name of the topic.
        retention_s: seconds that Kafka keeps a record; None if it never deletes records.
        in_danger: whether the backlog is near the retention.
        written: records written since the start.
        last_write: when a transaction was last committed; None if none was since the start.
        last_error: the last error: why the last write, or the last read of the backlog, failed; None if it succeeded.
        partitions: the backlog of each partition.
    """

    topic: str
    retention_s: float | None
    in_danger: bool
    written: int
    last_write: datetime | None
    last_error: str | None
    partitions: tuple[PartitionReport, ...]

    @property
    def oldest_s(self) -> float | None:
        """Seconds that the oldest record has waited; None if none waits."""
        return max((one.oldest_s for one in self.partitions if one.oldest_s is not None), default=None)


class BackfillReport(_Report):
    """The last backfill that was completed. The fields are those of `streams.sink.backfill.holes.Findings`."""

    ended_at: datetime
    ranges: int
    rows: int
    holes: int
    windows_missing: int
    windows_outdated: int
    rows_filled: int
    windows_filled: int
    gaps: int


class SinkReport(_Report):
    """A running sink.

    Attributes:
        health: its health.
        reasons: why the health is not ok, in words, the worst first; empty if it is ok.
        version: the version of emostream.
        started_at: when the sink was started.
        gate: the gate.
        topics: the topics that it writes.
        backfill: the last backfill; None if none was completed since the start.
    """

    health: Health
    reasons: tuple[str, ...]
    version: str
    started_at: datetime
    gate: GateReport
    topics: tuple[TopicReport, ...]
    backfill: BackfillReport | None


def percent(share: float) -> str:
    """Returns a share, 0 to 1, as text: "12.5 %" for 0.125."""
    return f"{round(100 * share, 1):g} %"


def age(seconds: float) -> str:
    """Returns a duration as text, in its two largest units: "2 min 10 s" for 130."""
    left = max(0, int(seconds))  # below 0 if clocks differ
    parts: list[tuple[int, str]] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def gate_report(state: GateState, settings: Settings) -> GateReport:
    """Returns the report of a gate with this state under these settings."""
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
    load = _share_and_limit("others use {} of the CPU", state.utilization, settings.sink_cpu_percent)
    match state.reason:
        case GateReason.STARTING:
            return "the load is not known yet"
        case GateReason.PRESSURE:
            return _share_and_limit(
                "tasks stall for {} of the time", state.pressure, settings.sink_pressure_percent or 100
            )
        case GateReason.CALMING:
            return f"{load}; it must stay low for {settings.sink_calm_s:g} s"
        case GateReason.OVERDUE:
            return f"a record has waited for {age(settings.sink_max_delay_s)} or more; {load}"
        case GateReason.FORCED:
            return "there is no limit on the load (--force, or EMOSTREAM_SINK_CPU_PERCENT=100)"
        case GateReason.BUSY | GateReason.IDLE:
            return load


def _share_and_limit(text: str, share: float | None, limit_percent: float) -> str:
    """Returns `text` with the share and its limit, and with the lower limit of a closed gate if that one is reached."""
    if share is None:
        return text.format("an unknown share")
    limit = limit_percent / 100
    opens = f"the limit is {percent(limit)}"
    if REOPEN * limit <= share < limit:
        opens += f", and a closed gate opens below {percent(REOPEN * limit)}"
    return f"{text.format(percent(share))}, {opens}"


def assess_health(gate: GateReport, topics: Sequence[TopicReport]) -> tuple[Health, tuple[str, ...]]:
    """Returns the health of a sink, and the reasons why it is not ok, the worst first."""
    found = [
        (
            Health.DANGER,
            f"{topic.topic}: the oldest unwritten record has waited {age(topic.oldest_s or 0)}, and Kafka deletes it "
            f"after {age(topic.retention_s or 0)}",
        )
        for topic in topics
        if topic.in_danger
    ]
    found += [
        (Health.RETRYING, f"{topic.topic}: {topic.last_error}") for topic in topics if topic.last_error is not None
    ]
    if not gate.is_open:
        found.append((Health.WAITING, f"the gate is closed: {gate.why}"))
    return (found[0][0] if found else Health.OK), tuple(text for _, text in found)
