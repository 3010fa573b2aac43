"""The evaluation's part of Postgres: where it stands, and the transaction that writes what it decides.

A commit has four steps, all in one transaction:

1. Lock the positions. Compare them, and who holds them, with what this evaluation knows.
2. Store the incidents that begin, and an outbox row for each channel that is told; then those that end.
3. Store the states of the series that changed, and the ends of the decided spans.
4. Move the positions.

An evaluation takes the positions over before it reads anything (`Progress.take`). From then on each commit of an
earlier one fails in step 1, also if that process was paused and resumes. An incident is stored once, whatever is
evaluated again: its key is the same each time, and only the first insert writes outbox rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from connectors.errors import PositionMismatchError, RejectedError
from connectors.postgres_pool import AsyncConnection, PostgresPool
from streams.alerts.engine.series import Closed, Opened, SeriesKey, SeriesState
from streams.alerts.rules.rule import Rule
from streams.alerts.storage import sql
from streams.alerts.storage.store import alerts_connection, fetch_all, read_rules
from streams.alerts.storage.stored import TOPIC_CHANNEL, StoredRule, UnreadableRule
from streams.records import RecordError, from_ms, rfc3339, to_ms

MOST_SERIES: Final = 1_000
"""The most series of which one transaction writes what was decided. A transaction has about ten seconds."""


class Taken(NamedTuple):
    """What an evaluation continues from.

    Attributes:
        positions: by partition, the offset of the next record.
        rules: the rules.
        unreadable: stored rules that this version cannot read.
        states: the states of the series that are not at rest.
        ticks: by size in seconds, the end of the last decided span in ms since 1970.
    """

    positions: dict[int, int]
    rules: list[StoredRule]
    unreadable: list[UnreadableRule]
    states: dict[SeriesKey, SeriesState]
    ticks: dict[int, int]


@dataclass
class Decisions:
    """What one commit writes.

    Attributes:
        before: the positions as this evaluation knows them, of all partitions.
        after: those that change.
        opened: the incidents that begin, each with its rule.
        closed: the incidents that end.
        changed: states of series; those at rest are deleted.
        ticks: by size in seconds, the end of the last decided span in ms since 1970.
    """

    before: Mapping[int, int]
    after: Mapping[int, int] = field(default_factory=dict)
    opened: Sequence[tuple[Opened, Rule]] = ()
    closed: Sequence[Closed] = ()
    changed: Mapping[SeriesKey, SeriesState] = field(default_factory=dict)
    ticks: Mapping[int, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        moved = any(self.before.get(partition) != offset for partition, offset in self.after.items())
        return not (moved or self.opened or self.closed or self.changed or self.ticks)


class Written(NamedTuple):
    """What a commit found new.

    Attributes:
        opened: by key, the incidents that began, and whether they are muted.
        closed: by key, the incidents that ended, and their severity.
    """

    opened: dict[str, bool]
    closed: dict[str, str]


class Progress:
    """The positions and states in Postgres, for one evaluation."""

    def __init__(self, pool: PostgresPool, topic: str, holder: str, channels: Callable[[], Sequence[str]]) -> None:
        """Prepare it.

        Args:
            pool: the connections.
            topic: the windows topic.
            holder: a name that no other evaluation has.
            channels: returns the names of all channels, for rules that name none.
        """
        self._pool = pool
        self._topic = topic
        self._holder = holder
        self._channels = channels

    async def known(self) -> tuple[dict[int, int], str | None]:
        """Returns the stored positions, and the id of the topic that they belong to; None if there are none."""
        async with alerts_connection(self._pool, "reading the positions of the alerts") as connection:
            rows = await fetch_all(connection, sql.POSITIONS, {"topic": self._topic})
        return {partition: offset for partition, offset, _ in rows}, rows[0][2] if rows else None

    async def take(self, starts: Mapping[int, int], topic_id: str, *, reset: bool = False) -> Taken:
        """Take the positions over from the evaluation that has them, and return all that is stored.

        Args:
            starts: the offset at which each partition begins that has no position yet.
            topic_id: Kafka's id of the topic.
            reset: whether the stored positions belong to a topic that was deleted, and are replaced by `starts`.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call; or a state is of another version.
        """
        places = {
            "topic": self._topic,
            "topic_id": topic_id,
            "partitions": list(starts),
            "offsets": list(starts.values()),
        }
        doing = "taking over the evaluation of the alerts"
        async with alerts_connection(self._pool, doing) as connection, connection.transaction():
            if reset:
                await connection.execute(sql.DROP_POSITIONS, {"topic": self._topic})
            await connection.execute(sql.ADD_POSITIONS, places)
            taken = await fetch_all(connection, sql.TAKE_POSITIONS, {"topic": self._topic, "holder": self._holder})
            # Each statement sees what the former evaluation had committed when the positions were locked.
            rules, unreadable = await read_rules(connection)
            states = await self._states(connection)
            ticks = {size: to_ms(end) for size, end in await fetch_all(connection, sql.TICKS)}
        return Taken(dict(sorted(taken)), rules, unreadable, states, ticks)

    @staticmethod
    async def _states(connection: AsyncConnection) -> dict[SeriesKey, SeriesState]:
        states = {}
        for rule, keyword, state in await fetch_all(connection, sql.SERIES):
            try:
                states[SeriesKey(rule, keyword)] = SeriesState.from_fields(state)
            except RecordError as exc:
                # Only a newer version writes such a state, and an older one must not go on from nothing.
                raise RejectedError(
                    f"the state of {rule} for {keyword!r} is of another version of emostream: {exc}"
                ) from None
        return states

    async def rules(self) -> tuple[list[StoredRule], list[UnreadableRule]]:
        """Returns the rules, and those that this version cannot read."""
        async with alerts_connection(self._pool, "reading the rules of the alerts") as connection:
            return await read_rules(connection)

    async def commit(self, decisions: Decisions) -> Written:
        """Write decisions and positions in one transaction, or in several if they are many; see `parts_of`.

        Raises:
            PositionMismatchError: Another evaluation has taken over. Nothing was written.
            ConnectorError: Postgres does not answer, or rejects the call. If the connection broke during the commit,
                it may have been written; then the next commit raises PositionMismatchError.
        """
        written = Written({}, {})
        parts = list(parts_of(decisions))
        for part in parts:
            done = await self._commit(part, is_last=part is parts[-1])
            written.opened.update(done.opened)
            written.closed.update(done.closed)
        return written

    async def _commit(self, decisions: Decisions, *, is_last: bool) -> Written:
        doing = "writing the decisions of the alerts"
        async with alerts_connection(self._pool, doing) as connection, connection.transaction():
            # Step 1: lock the positions and compare them.
            await self._check(connection, decisions.before)
            # Step 2: incidents and outbox rows.
            opened = await self._open(connection, decisions.opened)
            closed = await self._close(connection, decisions.closed)
            # Step 3: states and ticks.
            await _store_states(connection, decisions.changed, is_last=is_last)
            if decisions.ticks:
                ends = [from_ms(end) for end in decisions.ticks.values()]
                await connection.execute(sql.STORE_TICKS, {"sizes": list(decisions.ticks), "ends": ends})
            # Step 4: positions.
            if decisions.after:
                after = {"partitions": list(decisions.after), "offsets": list(decisions.after.values())}
                await connection.execute(sql.MOVE_POSITIONS, {"topic": self._topic, **after})
        return Written(opened, closed)

    async def _check(self, connection: AsyncConnection, before: Mapping[int, int]) -> None:
        rows = await fetch_all(connection, sql.LOCK_POSITIONS, {"topic": self._topic})
        stored = {partition: offset for partition, offset, _ in rows}
        if stored != dict(before) or any(holder != self._holder for *_, holder in rows):
            raise PositionMismatchError(f"another process has taken over the evaluation of {self._topic}")

    async def _open(self, connection: AsyncConnection, opened: Sequence[tuple[Opened, Rule]]) -> dict[str, bool]:
        if not opened:
            return {}
        found = [_incident_fields(one, rule) for one, rule in opened]
        rows = await fetch_all(connection, sql.OPEN_INCIDENTS, {"incidents": json.dumps(found)})
        muted: dict[str, bool] = dict(rows)
        told = [
            (one.incident, channel)
            for one, rule in opened
            if one.incident in muted
            for channel in (TOPIC_CHANNEL, *(() if muted[one.incident] else rule.channels or self._channels()))
        ]
        values = {"incidents": [incident for incident, _ in told], "channels": [channel for _, channel in told]}
        await connection.execute(sql.TELL_OPENED, values)
        return muted

    @staticmethod
    async def _close(connection: AsyncConnection, closed: Sequence[Closed]) -> dict[str, str]:
        if not closed:
            return {}
        gone = [
            {"incident": one.incident, "ended_at": rfc3339(from_ms(one.ended)), "because": one.because}
            for one in closed
        ]
        ended: dict[str, str] = dict(await fetch_all(connection, sql.CLOSE_INCIDENTS, {"incidents": json.dumps(gone)}))
        await connection.execute(sql.TELL_CLOSED, {"incidents": list(ended)})
        return ended


def parts_of(decisions: Decisions) -> Iterator[Decisions]:
    """Yields decisions in parts that Postgres takes in time; all in one, unless more than `MOST_SERIES` series decide.

    A part has all that was decided of its series, with their states. The positions move with the last one. If only some
    parts were written, the same windows are evaluated again, and the states of the other series say that they were.
    """
    keys = list(dict.fromkeys(SeriesKey(one.rule, one.keyword) for one in _all_of(decisions)))
    while len(keys) > MOST_SERIES:
        now, keys = set(keys[:MOST_SERIES]), keys[MOST_SERIES:]
        yield Decisions(
            decisions.before,
            opened=[pair for pair in decisions.opened if SeriesKey(pair[0].rule, pair[0].keyword) in now],
            closed=[one for one in decisions.closed if SeriesKey(one.rule, one.keyword) in now],
            changed={key: state for key, state in decisions.changed.items() if key in now},
        )
        decisions = replace(
            decisions,
            opened=[pair for pair in decisions.opened if SeriesKey(pair[0].rule, pair[0].keyword) not in now],
            closed=[one for one in decisions.closed if SeriesKey(one.rule, one.keyword) not in now],
            changed={key: state for key, state in decisions.changed.items() if key not in now or state.at_rest},
        )
    yield decisions


def _all_of(decisions: Decisions) -> Iterator[Opened | Closed]:
    yield from (one for one, _ in decisions.opened)
    yield from decisions.closed


def _incident_fields(one: Opened, rule: Rule) -> dict[str, object]:
    reason = one.reason
    return {
        "incident": one.incident,
        "rule_id": one.rule,
        "revision": one.revision,
        "rule_name": rule.name,
        "severity": rule.severity.value,
        "keyword": one.keyword,
        "size_s": one.size,
        "measure": rule.measure.of,
        "label": getattr(rule.measure, "label", None),
        "direction": rule.condition.direction.value,
        "began_at": rfc3339(from_ms(one.began)),
        "decided_at": rfc3339(from_ms(one.decided)),
        "value": reason.value,
        "usual": reason.usual,
        "posts": reason.posts,
        "reason": json.loads(reason.to_json()),
    }


async def _store_states(
    connection: AsyncConnection, changed: Mapping[SeriesKey, SeriesState], *, is_last: bool
) -> None:
    # A state at rest still says which windows it has seen, until the positions have passed them.
    kept = [(key, state) for key, state in changed.items() if not (state.at_rest and is_last)]
    gone = [key for key, state in changed.items() if state.at_rest and is_last]
    if kept:
        values = {
            **_columns(key for key, _ in kept),
            "revisions": [state.revision for _, state in kept],
            "states": [state.to_json().decode() for _, state in kept],
        }
        await connection.execute(sql.STORE_SERIES, values)
    if gone:
        await connection.execute(sql.FORGET_SERIES, _columns(gone))


def _columns(keys: Iterable[SeriesKey]) -> dict[str, list[str]]:
    found = list(keys)
    return {"rules": [key.rule for key in found], "keywords": [key.keyword for key in found]}
