"""The evaluation of rules, with real Kafka, Redis and Postgres: what it decides, and what it writes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.redis import connect
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.alerts.storage.changes import remove_rule
from streams.alerts.storage.store import add_mute, replace_rule
from streams.connections import kafka_config
from streams.ops.init import init_topics
from streams.records.values import MAX_COUNT
from streams.settings import Settings
from streams.windows.tumbling import shard_of
from tests.helpers import NOON_MS
from tests.integration.alerts_support import (
    CHANNELS,
    FAST,
    evaluating,
    incidents,
    minutes,
    pool,
    position,
    publish,
    query,
    rule,
    store_rules,
    told,
    until,
    window,
)
from tests.integration.support import wait_for

KEY = "r1|coffee|60|2026-03-01T12:01:00.000Z"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=FAST)


async def decided(settings: Settings, minute: int) -> None:
    """Wait until the spans up to the one that begins `minute` minutes after noon are decided."""
    end = f"to_timestamp({NOON_MS / 1_000 + 60 * (minute + 1)})"
    statement = f"SELECT count(*) FROM alert_ticks WHERE size_s = 60 AND decided_to >= {end}"
    await until(lambda: query(settings, statement) == [(1,)], what=f"minute {minute} is not decided")


async def test_an_incident_begins_and_ends_once_and_each_channel_is_told(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    await store_rules(settings, rule(), rule("only", channels=("hook",)), rule("off", enabled=False))
    metrics = AlertMetrics()
    async with evaluating(settings, metrics):
        publish(settings, producer, minutes({0: 5, 1: 20}))
        await decided(settings, 1)
        assert incidents(settings)[KEY] == (1, None, None, False)
        assert query(settings, "SELECT count(*) FROM alert_series") == [(2,)]
        publish(settings, producer, minutes({2: 30, 3: 4}))
        await decided(settings, 3)
        # The positions follow when nothing is held any more.
        await until(lambda: position(settings) == 8, what="the positions do not reach the end")
    assert incidents(settings) == {
        KEY: (1, 4, "cleared", False),
        KEY.replace("r1", "only"): (1, 4, "cleared", False),
    }
    events = [(event, channel) for event in ("opened", "closed") for channel in ("", *sorted(CHANNELS))]
    assert [row[1:] for row in told(settings) if row[0] == KEY] == events
    only = [row[1:] for row in told(settings) if row[0] != KEY]
    assert only == [("opened", ""), ("opened", "hook"), ("closed", ""), ("closed", "hook")]
    assert query(settings, "SELECT count(*) FROM alert_series") == [(0,)]
    [(value, posts, severity, direction)] = query(
        settings, f"SELECT value, posts, severity, direction FROM alert_incidents WHERE incident = '{KEY}'"
    )
    assert (value, posts, severity, direction) == (20, 20, "warning", "above")
    assert query(settings, "SELECT summary <> '' FROM bi.alerts WHERE rule = 'r1'") == [(True,)]
    assert metrics.opened.labels("warning")._value.get() == 2
    assert metrics.closed.labels("warning")._value.get() == 2


async def test_windows_of_a_foreign_writer_neither_stop_nor_mislead_the_evaluation(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    share = rule("r2", measure={"of": "emotion", "label": "anger"}, condition={"type": "threshold", "limit": 50})
    await store_rules(
        settings, rule(), share, rule("r3", keywords="each", condition={"type": "threshold", "limit": 99})
    )
    metrics = AlertMetrics()
    century = timedelta(days=36_500)
    later = [replace(one, start=one.start + century, end=one.end + century) for one in minutes({0: 20})]
    aside = timedelta(seconds=1)
    crooked = replace(later[1], start=later[1].start - century + aside, end=later[1].end - century + aside)
    torn = window("coffee", 0, 20, labels={"anger": 40})
    many = replace(window("coffee", 0, 20), count=MAX_COUNT, unsupported=MAX_COUNT)
    named = [window("no\0word", 0, 100), window("long" * 1_000, 0, 100)]
    async with evaluating(settings, metrics):
        publish(settings, producer, [*later, crooked, torn, many, *named, *minutes({0: 5})])
        await decided(settings, 0)
        publish(settings, producer, minutes({1: 20}))
        await decided(settings, 1)
        await until(lambda: position(settings) == 11, what="a foreign record holds the positions back")
    assert list(incidents(settings)) == [KEY]
    assert metrics.invalid._value.get() == 7


async def test_it_goes_on_after_a_restart_where_it_was(settings: Settings, producer: ConfirmedProducer) -> None:
    await store_rules(settings, rule(for_windows=3))
    publish(settings, producer, minutes({0: 20, 1: 20}))
    async with evaluating(settings):
        await decided(settings, 1)
    assert incidents(settings) == {}
    publish(settings, producer, minutes({2: 20}))
    async with evaluating(settings):
        await decided(settings, 2)
    assert incidents(settings) == {KEY.replace("12:01", "12:00"): (0, None, None, False)}


async def test_a_provisional_window_opens_an_incident_of_a_growing_volume_at_once(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    await store_rules(
        settings, rule(), rule("below", condition={"type": "threshold", "direction": "below", "limit": 9})
    )
    async with evaluating(settings):
        publish(settings, producer, minutes({0: 9}))
        await decided(settings, 0)
        publish(settings, producer, [window("coffee", 1, 3, final=False), window("coffee", 1, 11, final=False)])
        await until(lambda: KEY in incidents(settings), what="the provisional window opens nothing")
        assert list(incidents(settings)) == [KEY]
        publish(settings, producer, minutes({1: 15}))
        await decided(settings, 1)
    assert list(incidents(settings)) == [KEY]
    assert query(settings, "SELECT value FROM alert_incidents") == [(11,)]


async def test_a_rule_finds_the_window_that_exceeds_its_limit_when_it_is_stored(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record of the window comes any more."""
    monkeypatch.setattr("streams.alerts.evaluation.evaluator.RULES_S", 0.1)
    hour = int(time.time()) // 3_600 * 3_600_000
    redis = connect(settings.redis_url.get_secret_value())
    for keyword, start, final in (("coffee", hour, 0), ("rain", hour, 1), ("tea", hour - 7_200_000, 0)):
        await redis.hset(
            f"{settings.redis_prefix}:{{{_shard(keyword, settings)}}}:w:3600|{start}|{keyword}",
            mapping={
                "n": "20",
                "l:joy": "20",
                "rev": "1",
                "final": str(final),
                "first": str(start),
                "last": str(start),
            },
        )
    await redis.aclose()
    async with evaluating(settings) as evaluator:
        await until(lambda: evaluator.round_at is not None, what="no round")
        low = rule("low", window_s=3_600, condition={"type": "threshold", "direction": "below", "limit": 50})
        await store_rules(settings, low, rule(window_s=3_600, keywords=["coffee", "rain", "tea"]))
        await until(lambda: incidents(settings) != {}, what="the window is not found")
    [(found, value, decided)] = query(settings, "SELECT incident, value, decided_at FROM alert_incidents")
    assert found.startswith("r1|coffee|3600|")
    assert (value, int(decided.timestamp()) * 1_000) == (20, hour + 3_600_000)


@pytest.mark.parametrize("change", ["replaced", "deleted", "disabled"])
async def test_a_rule_that_changes_ends_its_incident(
    settings: Settings, producer: ConfirmedProducer, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.alerts.evaluation.evaluator.RULES_S", 0.1)
    await store_rules(settings, rule())
    async with evaluating(settings):
        publish(settings, producer, minutes({0: 5, 1: 20}))
        await decided(settings, 1)
        async with pool(settings) as opened, opened.connection("changing a rule") as connection:
            if change == "deleted":
                await remove_rule(connection, "r1")
            else:
                changed = {"enabled": False} if change == "disabled" else {"name": "another name"}
                await replace_rule(connection, rule(**changed))
        await until(lambda: incidents(settings)[KEY][1] is not None, what="the incident does not end")
    assert incidents(settings)[KEY][2] == "the rule was changed"
    assert [event for _, event, _ in told(settings)] == ["opened"] * 3 + ["closed"] * 3


async def test_a_muted_incident_is_recorded_and_only_the_topic_is_told(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    await store_rules(settings, rule(), rule("r2"))
    async with pool(settings) as opened, opened.connection("muting") as connection:
        until_at = datetime.now(UTC) + timedelta(hours=1)
        await add_mute(connection, rule="r1", keyword=None, until=until_at)
        await add_mute(connection, rule=None, keyword="rain", until=until_at)
        await add_mute(connection, rule="r2", keyword=None, until=datetime.now(UTC) - timedelta(hours=1))
    async with evaluating(settings):
        publish(settings, producer, minutes({1: 20, 2: 1}))
        await decided(settings, 2)
    assert {key[:2]: muted for key, (*_, muted) in incidents(settings).items()} == {"r1": True, "r2": False}
    assert [(event, channel) for key, event, channel in told(settings) if key == KEY] == [
        ("opened", ""),
        ("closed", ""),
    ]


async def test_a_keyword_without_posts_has_a_volume_of_0_only_if_redis_is_sure(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    low = {"type": "threshold", "direction": "below", "limit": 1}
    await store_rules(settings, rule(condition=low))
    redis = connect(settings.redis_url.get_secret_value())
    noon = NOON_MS + 60_000 * 3

    async def state(**fields: int) -> None:
        for shard in range(settings.shards):
            fields_of_any_type: dict[Any, Any] = {**fields}
            await redis.hset(f"{settings.redis_prefix}:{{{shard}}}:state", mapping=fields_of_any_type)

    metrics = AlertMetrics()
    async with evaluating(settings, metrics):
        # The window tables are empty: nothing is known, so this is no data.
        publish(settings, producer, minutes({0: 0}))
        await decided(settings, 0)
        assert incidents(settings) == {}
        assert metrics.unknown._value.get() == 1
        # The shard of the keyword has not come so far.
        await state(complete_from=0, watermark=noon - 60_001)
        publish(settings, producer, minutes({1: 0}))
        await until(lambda: query(settings, "SELECT 1 FROM alert_ticks") != [], what="nothing was decided")
        await state(watermark=noon)
        await decided(settings, 1)
        await until(lambda: KEY in incidents(settings), what="the silence opens nothing")
        assert metrics.silent._value.get() == 1
        # The window exists; its record has not come.
        await redis.hset(
            f"{settings.redis_prefix}:{{{_shard('coffee', settings)}}}:w:60|{NOON_MS + 120_000}|coffee",
            mapping={"n": "4", "l:joy": "4", "rev": "1", "final": "1", "first": str(NOON_MS), "last": str(NOON_MS)},
        )
        publish(settings, producer, minutes({2: 0}))
        await decided(settings, 2)
    await redis.aclose()
    assert incidents(settings) == {KEY: (1, 3, "cleared", False)}


def _shard(keyword: str, settings: Settings) -> int:
    return shard_of(keyword, settings.shards)


async def test_late_corrections_and_repetitions_change_nothing(settings: Settings, producer: ConfirmedProducer) -> None:
    await store_rules(settings, rule())
    metrics = AlertMetrics()
    async with evaluating(settings, metrics):
        publish(settings, producer, minutes({1: 5, 2: 6}))
        await decided(settings, 2)
        publish(settings, producer, [window("coffee", 1, 50), window("*", 1, 60), *minutes({3: 2})])
        await decided(settings, 3)
        await until(lambda: position(settings) == 8, what="the positions do not reach the end")
    assert incidents(settings) == {}
    assert metrics.late._value.get() == 2


async def test_a_replay_from_the_beginning_finds_the_same_incidents_and_tells_nobody(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    await store_rules(settings, rule(), rule("twice", for_windows=2, keywords="each"))
    pattern = {minute: 20 if minute % 7 in {2, 3, 4} else 3 for minute in range(30)}
    async with evaluating(settings):
        publish(settings, producer, minutes(pattern) + minutes(pattern, "rain"))
        await decided(settings, 29)
    before, told_before = incidents(settings), told(settings)
    assert len(before) == 12  # r1 for coffee, the other for both: four times each
    query(settings, "DELETE FROM alert_positions; DELETE FROM alert_series; DELETE FROM alert_ticks")
    async with evaluating(settings):
        await decided(settings, 29)
    assert incidents(settings) == before
    assert told(settings) == told_before
    query(settings, "DELETE FROM alert_positions; DELETE FROM alert_series; DELETE FROM alert_ticks")
    query(settings, "DELETE FROM alert_outbox; DELETE FROM alert_incidents")
    async with evaluating(settings):
        await decided(settings, 29)
    assert incidents(settings) == before
    assert told(settings) == told_before


async def test_a_topic_that_was_made_again_is_read_from_its_beginning(
    settings: Settings, producer: ConfirmedProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.alerts.evaluation.evaluator.RULES_S", 0.1)
    await store_rules(settings, rule())
    async with evaluating(settings):
        publish(settings, producer, minutes({1: 20, 2: 20}))
        await decided(settings, 2)
        await until(lambda: position(settings) == 4, what="the positions do not reach the end")
        _delete_topic(settings, settings.topic_windows)
        init_topics(settings, lambda line: None)
        publish(settings, producer, minutes({2: 20, 3: 1}))
        await decided(settings, 3)
    assert incidents(settings) == {KEY: (1, 4, "cleared", False)}


def _delete_topic(settings: Settings, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    client.delete_topics([topic])[topic].result(120)
    admin = KafkaAdmin(kafka_config(settings))
    wait_for(lambda: topic not in admin.partition_counts(), what=f"{topic} is still there")


async def test_what_is_no_window_is_counted_and_passed_over(settings: Settings, producer: ConfirmedProducer) -> None:
    await store_rules(settings, rule())
    metrics = AlertMetrics()
    bad = [
        Outgoing(settings.topic_windows, b"{}", b"coffee|60|2026-03-01T12:00:00.000Z"),
        Outgoing(settings.topic_windows, b"x", b"no key"),
        Outgoing(settings.topic_windows, None, b"coffee|60|2026-03-01T12:00:00.000Z"),
    ]
    async with evaluating(settings, metrics):
        producer.submit(bad).result(60)
        publish(settings, producer, minutes({1: 20}))
        await decided(settings, 1)
    assert list(incidents(settings)) == [KEY]
    assert metrics.invalid._value.get() == 2
