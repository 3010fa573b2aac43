"""Rules, mutes, incidents and the outbox in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.errors import PositionMismatchError, RejectedError
from connectors.postgres_pool import AsyncConnection, PostgresPool
from streams.alerts.delivery import outbox
from streams.alerts.engine.engine import Closed, Opened, SeriesKey, SeriesState
from streams.alerts.errors import RuleExistsError, RuleMissingError
from streams.alerts.evaluation.progress import Decisions, Progress, parts_of
from streams.alerts.rules.rule import Rule
from streams.alerts.storage.changes import remove_rule
from streams.alerts.storage.store import (
    add_mute,
    add_rule,
    alerts_connection,
    end_mute,
    explain,
    read_deliveries,
    read_incident,
    read_incidents,
    read_mutes,
    read_rule,
    read_rules,
    replace_rule,
)
from streams.alerts.storage.stored import Explanation, IncidentFilter
from streams.records import AlertReason, AlertWord
from tests.helpers import NOON_MS
from tests.integration.alerts_support import CHANNELS, MINUTE, rule
from tests.integration.bi_support import database, dsn

__all__ = ["database", "dsn"]  # fixtures

TOPIC = "emotions.windows"


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(dsn, application_name="tests") as opened:
        yield opened


@pytest.fixture
async def connection(pool: PostgresPool) -> AsyncIterator[AsyncConnection]:
    async with alerts_connection(pool, "testing") as opened:
        yield opened


def opened(minute: int, keyword: str = "coffee", rule_id: str = "r1") -> Opened:
    began = NOON_MS + minute * MINUTE
    reason = AlertReason(value=20, low=12, high=31, posts=20, limit=10, summary="why")
    incident = f"{rule_id}|{keyword}|60|{minute}"
    return Opened(incident, rule_id, 1, keyword, 60, began, began + MINUTE, reason)


def closed(one: Opened, minutes: int = 5) -> Closed:
    ended = one.began + minutes * MINUTE
    return Closed(one.incident, one.rule, one.revision, one.keyword, one.size, one.began, ended, "cleared")


async def evaluation(pool: PostgresPool, holder: str = "a", **starts: Any) -> Progress:
    progress = Progress(pool, TOPIC, holder, lambda: CHANNELS)
    await progress.take(starts.get("starts", {0: 0, 1: 0}), "id-1", reset=starts.get("reset", False))
    return progress


async def test_each_change_of_a_rule_has_a_revision(connection: AsyncConnection) -> None:
    first = await add_rule(connection, rule("r1", keywords=["coffee", "rain"]))
    assert (first.revision, first.rule.keywords) == (1, ("coffee", "rain"))
    with pytest.raises(RuleExistsError, match="r1"):
        await add_rule(connection, rule("r1"))
    assert (await replace_rule(connection, first.rule)).revision == 1  # nothing changed
    assert (await replace_rule(connection, rule("r1", name="other"))).revision == 2
    await remove_rule(connection, "r1")
    assert await read_rule(connection, "r1") is None
    for change in (remove_rule(connection, "r1"), replace_rule(connection, rule("r1"))):
        with pytest.raises(RuleMissingError):
            await change
    assert (await add_rule(connection, rule("r1"))).revision == 4
    assert [one.revision for one in (await read_rules(connection))[0]] == [4]


async def test_a_rule_of_another_version_is_named_and_the_others_are_read(connection: AsyncConnection) -> None:
    await add_rule(connection, rule("good"))
    await connection.execute("INSERT INTO alert_rules (id, revision, rule) VALUES ('odd', 1, '{\"id\": \"odd\"}')")
    rules, unreadable = await read_rules(connection)
    assert [one.rule.id for one in rules] == ["good"]
    assert [(one.id, one.error) for one in unreadable] == [("odd", "name: Field required")]


async def test_mutes_end(connection: AsyncConnection) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    mute = await add_mute(connection, rule="r1", keyword=None, until=later, reason="deploy")
    await add_mute(connection, rule=None, keyword="rain", until=later - timedelta(hours=2))
    assert await read_mutes(connection) == [mute]
    ended = await end_mute(connection, mute.id)
    assert ended is not None
    assert ended.ended_at is not None
    assert await end_mute(connection, mute.id) == ended
    assert await end_mute(connection, 999) is None
    assert await read_mutes(connection) == []
    assert len(await read_mutes(connection, ended=True)) == 2


async def test_incidents_are_listed_in_pages_with_filters(pool: PostgresPool) -> None:
    progress = await evaluation(pool)
    found = [opened(minute, keyword) for minute in range(5) for keyword in ("coffee", "rain")]
    kind = rule(severity="critical")
    decisions = Decisions({0: 0, 1: 0}, {0: 9}, [(one, kind) for one in found], [closed(one) for one in found[:4]])
    await progress.commit(decisions)
    async with pool.connection("reading") as connection:
        listed = []
        after = None
        while page := await read_incidents(connection, IncidentFilter(after=after), 3):
            listed += page
            after = (page[-1].decided, page[-1].incident)
        assert [one.incident for one in listed] == [
            f"r1|{keyword}|60|{minute}" for minute in range(4, -1, -1) for keyword in ("coffee", "rain")
        ]

        async def count(**fields: Any) -> int:
            return len(await read_incidents(connection, IncidentFilter(**fields), 100))

        assert await count(open=True) == 6
        assert await count(open=False) == 4
        assert await count(keyword="rain") == 5
        assert await count(rule="r2") == 0
        assert await count(severity="critical") == 10
        begin = listed[-1].decided
        assert await count(since=begin + timedelta(minutes=1), until=begin + timedelta(minutes=3)) == 4
        first = await read_incident(connection, "r1|coffee|60|0")
        assert first is not None
        assert first.reason.summary == "why"
        record = first.record("closed", at=first.found_at, channels=("hook",))
        assert (record.ended_because, record.channels, record.event) == ("cleared", ("hook",), "closed")
        assert first.record("opened", at=first.found_at).ended is None


async def test_the_first_explanation_counts(pool: PostgresPool) -> None:
    progress = await evaluation(pool)
    one = opened(0)
    await progress.commit(Decisions({0: 0, 1: 0}, {}, [(one, rule())]))
    async with pool.connection("explaining") as connection:
        for word in ("first", "second"):
            reason = AlertReason(
                value=20, low=12, high=31, posts=20, limit=10, summary="why", words=(AlertWord(word, 3.0, 5, 1),)
            )
            stored = await explain(connection, one.incident, Explanation(reason))
            assert stored is not None
            assert [each.word for each in stored.reason.words] == ["first"]
        assert await explain(connection, "none", Explanation(reason)) is None


async def test_decisions_of_an_evaluation_that_was_taken_over_are_refused(pool: PostgresPool) -> None:
    first = await evaluation(pool, "first")
    state = SeriesState(revision=1, size=60, run=2, run_began=NOON_MS)
    key = SeriesKey("r1", "coffee")
    await first.commit(Decisions({0: 0, 1: 0}, {0: 5, 1: 7}, changed={key: state}, ticks={60: NOON_MS}))
    second = Progress(pool, TOPIC, "second", lambda: CHANNELS)
    taken = await second.take({0: 0, 1: 0, 2: 3}, "id-1")
    assert taken.positions == {0: 5, 1: 7, 2: 3}
    assert taken.states == {key: state}
    assert taken.ticks == {60: NOON_MS}
    refused = Decisions({0: 5, 1: 7, 2: 3}, {0: 6}, [(opened(1), rule())])
    with pytest.raises(PositionMismatchError):
        await first.commit(refused)
    with pytest.raises(PositionMismatchError):
        await second.commit(Decisions({0: 4, 1: 7, 2: 3}, {0: 6}, [(opened(1), rule())]))
    await second.commit(Decisions({0: 5, 1: 7, 2: 3}, {0: 6}, changed={key: SeriesState(revision=1, size=60)}))
    third = Progress(pool, TOPIC, "third", lambda: CHANNELS)
    taken = await third.take({0: 1}, "id-2", reset=True)
    assert (taken.positions, taken.states) == ({0: 1}, {})
    assert await third.known() == ({0: 1}, "id-2")
    async with pool.connection("reading") as connection:
        assert await read_incidents(connection, IncidentFilter(), 10) == []


async def test_an_incident_that_is_decided_again_is_told_once(pool: PostgresPool) -> None:
    progress = await evaluation(pool)
    one, kind = opened(0), rule(channels=("hook",))
    before = {0: 0, 1: 0}
    assert (await progress.commit(Decisions(before, {}, [(one, kind)]))).opened == {one.incident: False}
    again = await progress.commit(Decisions(before, {}, [(one, kind)], [closed(one)]))
    assert again.opened == {}
    assert again.closed == {one.incident: "warning"}
    assert (await progress.commit(Decisions(before, {}, [], [closed(one, 9)]))).closed == {}
    async with pool.connection("reading") as connection:
        rows = [(each.event, each.channel) for each in await read_deliveries(connection, one.incident)]
        incident = await read_incident(connection, one.incident)
    assert sorted(rows) == [("closed", ""), ("closed", "hook"), ("opened", ""), ("opened", "hook")]
    assert incident is not None
    assert incident.ended is not None
    assert incident.ended.timestamp() * 1_000 == one.began + 5 * MINUTE


async def test_the_end_waits_for_the_begin_and_a_later_try_fences_an_earlier_one(pool: PostgresPool) -> None:
    progress = await evaluation(pool)
    one, kind = opened(0), rule(channels=("hook",))
    await progress.commit(Decisions({0: 0, 1: 0}, {}, [(one, kind)], [closed(one)]))
    async with pool.connection("delivering") as connection:

        async def claim(lease_s: float = 60) -> list[tuple[str, int]]:
            claimed.extend(found := await outbox.claim(connection, "hook", limit=10, lease_s=lease_s))
            return [(each.event, each.attempts) for each in found]

        claimed: list[Any] = []
        assert await claim(lease_s=0) == [("opened", 1)]
        assert await claim() == [("opened", 2)]
        assert await claim() == []
        first, second = claimed
        assert not await outbox.delivered(connection, first)
        assert await outbox.retry(connection, second, "busy", 0)
        assert await claim() == [("opened", 3)]
        assert await outbox.delivered(connection, claimed[-1])
        assert await claim() == [("closed", 1)]
        assert await outbox.failed(connection, claimed[-1], "gone")
        assert (await outbox.backlog(connection))[:2] == (2, 1)  # both events wait for the topic


async def test_many_decisions_are_written_in_parts_that_each_have_their_states(
    pool: PostgresPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.alerts.evaluation.progress.MOST_SERIES", 2)
    before, kind = {0: 0, 1: 0}, rule(channels=("hook",))
    many = [opened(0, word) for word in "abcde"]
    states = {SeriesKey("r1", one.keyword): SeriesState(revision=1, size=60, opened=one.began) for one in many}
    states[SeriesKey("r1", "a")] = SeriesState(revision=1, size=60, last=NOON_MS)  # at rest: its incident has ended
    decisions = Decisions(before, {0: 7}, [(one, kind) for one in many], [closed(many[0])], states, {60: NOON_MS})
    parts = list(parts_of(decisions))
    assert [[one.keyword for one, _ in part.opened] for part in parts] == [["a", "b"], ["c", "d"], ["e"]]
    assert [{key.keyword for key in part.changed} for part in parts] == [{"a", "b"}, {"c", "d"}, {"a", "e"}]
    assert [(len(part.closed), dict(part.after), dict(part.ticks)) for part in parts] == [
        (1, {}, {}), (0, {}, {}), (0, {0: 7}, {60: NOON_MS}),
    ]  # fmt: skip

    progress = await evaluation(pool)
    for part in parts[:2]:  # the process dies before the last one
        await progress._commit(part, is_last=False)
    assert {key.keyword for key in (await progress.take({}, "")).states} == set("abcd")
    written = await progress.commit(decisions)
    assert set(written.opened) == {many[4].incident}
    async with pool.connection("reading") as connection:
        found = await read_incidents(connection, IncidentFilter(), 10)
        assert len(found) == 5
        assert len((await progress.take({}, "")).states) == 4
        assert len([one for each in many for one in await read_deliveries(connection, each.incident)]) == 12


async def test_what_is_more_urgent_is_told_first(pool: PostgresPool) -> None:
    progress = await evaluation(pool)
    rules = [rule(severity, severity=severity, channels=("hook",)) for severity in ("info", "warning", "critical")]
    before = [(opened(0, rule_id=one.id), one) for one in rules]
    await progress.commit(Decisions({0: 0, 1: 0}, {}, before))
    async with pool.connection("delivering") as connection:
        found = [one for _ in rules for one in await outbox.claim(connection, "hook", limit=1, lease_s=60)]
    assert [one.incident.partition("|")[0] for one in found] == ["critical", "warning", "info"]


async def test_a_database_without_tables_says_what_to_do(pool: PostgresPool, connection: AsyncConnection) -> None:
    await connection.execute("DROP TABLE alert_rules")
    with pytest.raises(RejectedError, match="run `emostream init`"):
        async with alerts_connection(pool, "reading rules") as other:
            await read_rules(other)


def test_rules_survive_their_way_through_json() -> None:
    found = rule(keywords="each", measure={"of": "emotion", "label": "joy"}, condition={"type": "zscore"})
    assert Rule.model_validate_json(found.model_dump_json()) == found
