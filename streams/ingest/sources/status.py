"""Collects what `emostream sources` shows: the stored positions with their reports, and which process runs each source.

Everything is in Kafka, so a source need not run, and may run on another machine. `streams.cli.sources` formats it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from connectors.errors import PositionError
from connectors.kafka.admin import GroupMember, KafkaAdmin
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.ingest.sources.members import Process, lease_group, process_of
from streams.ingest.sources.rate import SPAN_S
from streams.records import RecordError, SourcePosition
from streams.settings import Settings

_NO_KEYWORD = "no_keyword"
_EDITED = "edited"


class State(StrEnum):
    """Whether a source runs."""

    RUNNING = "running"
    WAITING = "waiting"
    """There are processes, but Kafka has given the source to none of them yet."""

    STOPPED = "stopped"

    FAILED = "failed"
    """It has ended for good, with an error. It does not run again by itself."""


@dataclass(frozen=True)
class SourceStatus:
    """The status of an instance of a source.

    Attributes:
        position: the stored position.
        runner: the process that runs it; None if none does.
        waiting: the processes that wait until they may run it.
    """

    position: SourcePosition
    runner: Process | None = None
    waiting: tuple[Process, ...] = ()

    @property
    def state(self) -> State:
        """Whether it runs."""
        if self.runner is not None:
            return State.RUNNING
        if self.waiting:
            return State.WAITING
        return State.STOPPED if self.failure is None else State.FAILED

    @property
    def failure(self) -> str | None:
        """The error for which it has ended for good; None if it has not, or runs again."""
        report = self.position.report
        return None if report is None or self.runner is not None else report.failure

    @property
    def dropped(self) -> int:
        """The posts that the selection by keywords has dropped."""
        return self._refused.get(_NO_KEYWORD, 0)

    @property
    def edits(self) -> int:
        """The edits that the network announced."""
        return self._refused.get(_EDITED, 0)

    @property
    def skipped(self) -> dict[str, int]:
        """The other events that became no post, by reason."""
        return {reason: count for reason, count in self._refused.items() if reason not in (_NO_KEYWORD, _EDITED)}

    @property
    def _refused(self) -> Mapping[str, int]:
        return {} if self.position.report is None else self.position.report.refused

    def idle_s(self, now: datetime) -> float | None:
        """Returns the seconds since the last event came; None if that is not known."""
        report = self.position.report
        return None if report is None or report.heard_at is None else _seconds(report.heard_at, now)

    def lag_s(self, now: datetime) -> float | None:
        """Returns the seconds by which the source is behind the network; None if that is not known.

        While it runs, that is how old its last event was when it was confirmed. Afterwards it is how old it is now.
        """
        report = self.position.report
        if self.runner is not None:
            return None if report is None else report.lag_s
        return None if self.position.at is None else _seconds(self.position.at, now)

    def posts_per_second(self, now: datetime) -> float:
        """Returns the rate of the last minute; 0 if it does not run, or nothing was stored for a minute."""
        report = self.position.report
        if report is None or self.runner is None or _seconds(self.position.saved_at, now) > SPAN_S:
            return 0.0
        return report.posts_per_second


def _seconds(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds())


@dataclass(frozen=True)
class Statuses:
    """The status of every source.

    Attributes:
        sources: by instance, in the order of their names.
        unreadable: the instances whose position cannot be read, each with the reason.
    """

    sources: tuple[SourceStatus, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)


class StatusReader:
    """Reads the status, and afterwards what has changed. Blocking."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._config = kafka_config(settings)
        self._admin = KafkaAdmin(self._config)
        self._values: dict[str, bytes] = {}
        self._read_to: dict[int, int] = {}

    def read(self) -> Statuses:
        """Returns the present status.

        Raises:
            ConnectorError: The topic does not exist, or Kafka did not answer.
        """
        self._read_positions()
        groups = {instance: lease_group(self._settings, instance) for instance in sorted(self._values)}
        members = self._admin.group_members(groups.values())
        found, unreadable = [], {}
        for instance, group in groups.items():
            try:
                position = SourcePosition.from_json(self._values[instance])
            except RecordError as exc:
                unreadable[instance] = str(exc)
            else:
                found.append(status_of(position, group, members[group], self._settings.topic_sources))
        return Statuses(tuple(found), unreadable)

    def _read_positions(self) -> None:
        # A record of an open transaction is as good as another one: a position proves itself.
        topic, group = self._settings.topic_sources, scan_group(self._settings)
        try:
            scan = TopicScan(self._config, topic, group=group, starts=self._read_to, committed=False)
        except PositionError:  # the topic is a new one
            self._values = {}
            scan = TopicScan(self._config, topic, group=group, committed=False)
        try:
            for message in scan.messages():
                instance = (message.key() or b"").decode("utf-8", "replace")
                if (value := message.value()) is None:
                    self._values.pop(instance, None)
                elif instance:
                    self._values[instance] = value
        finally:
            scan.close()
        self._read_to = {partition: high for partition, (_, high) in scan.bounds.items()}


def status_of(position: SourcePosition, group: str, members: list[GroupMember], topic: str) -> SourceStatus:
    """Returns the status of an instance, given the members of the group of its lease and the topic of the lease."""
    runner, waiting = None, []
    for member in members:
        process = process_of(group, member.client_id, member.address)
        if (topic, 0) in member.partitions:
            runner = process
        else:
            waiting.append(process)
    return SourceStatus(position, runner, tuple(waiting))


def to_json(statuses: Statuses, now: datetime | None = None) -> dict[str, Any]:
    """Returns everything as JSON values."""
    now = now or datetime.now(UTC)
    return {
        "sources": [_to_json(one, now) for one in statuses.sources],
        "unreadable": [{"instance": name, "problem": problem} for name, problem in statuses.unreadable.items()],
    }


def _to_json(one: SourceStatus, now: datetime) -> dict[str, Any]:
    position, report = one.position, one.position.report
    found: dict[str, Any] = {
        "instance": position.instance,
        "source": position.source,
        "state": one.state.value,
        "host": one.runner.host if one.runner is not None else None,
        "pid": one.runner.pid if one.runner is not None else None,
        "waiting": [{"host": process.host, "pid": process.pid} for process in one.waiting],
        "saved_at": position.saved_at.rfc3339(),
        "at": None if position.at is None else position.at.rfc3339(),
        "gaps": position.gaps,
    }
    if report is None:
        return {**found, "since": None}
    return {
        **found,
        "since": report.since.rfc3339(),
        "posts": report.posts,
        "posts_per_second": one.posts_per_second(now),
        "idle_s": one.idle_s(now),
        "lag_s": one.lag_s(now),
        "reconnects": report.reconnects,
        "gap_seconds": report.gap_seconds,
        "kept": report.kept,
        "dropped": one.dropped,
        "cut": report.cut,
        "duplicates": report.duplicates,
        "edits": one.edits,
        "deletions": report.deletions,
        "skipped": one.skipped,
        "repaired": report.repaired,
        "failure": one.failure,
    }
