"""Servers that do not answer, and windows that are gone: the evaluation waits, and skips nothing without a count."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.producer import ConfirmedProducer
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.settings import Settings, load_settings
from tests.forked_role import ForkedAlerts
from tests.integration.alerts_support import (
    FAST,
    evaluating,
    incidents,
    minutes,
    position,
    publish,
    query,
    rule,
    store_rules,
    until,
)
from tests.integration.link_proxy import LinkProxy
from tests.integration.support import offsets

WAITS = "nothing is evaluated or delivered until Postgres answers"
LINKS = {"redis": "REDIS_URL", "postgres": "POSTGRES_DSN"}


@pytest.fixture
def links(env: dict[str, str]) -> Iterator[dict[str, LinkProxy]]:
    """A link to Redis, and one to Postgres."""
    opened = {}
    for name in LINKS:
        parts = urlsplit(env[f"EMOSTREAM_{LINKS[name]}"])
        opened[name] = LinkProxy(parts.hostname or "", parts.port or 0)
    yield opened
    for link in opened.values():
        link.cut()


@pytest.fixture
def linked_env(settings: Settings, env: dict[str, str], links: dict[str, LinkProxy]) -> dict[str, str]:
    """The environment of an evaluation that reaches Redis and Postgres through the links."""
    changed = env | {f"EMOSTREAM_{name.upper()}": str(value) for name, value in FAST.items()}
    for name, link in links.items():
        key = f"EMOSTREAM_{LINKS[name]}"
        parts = urlsplit(env[key])
        account, at, _ = parts.netloc.rpartition("@")
        changed[key] = urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{link.port}"))
    return changed


@pytest.fixture
def linked(linked_env: dict[str, str]) -> Settings:
    return load_settings(env_file=None, environ=linked_env)


@pytest.mark.parametrize("server", ["redis", "postgres"])
async def test_a_server_that_does_not_answer_is_waited_for(
    settings: Settings,
    linked: Settings,
    links: dict[str, LinkProxy],
    producer: ConfirmedProducer,
    server: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The second rule makes the evaluation ask Redis: its keyword has no windows.
    await store_rules(settings, rule(), rule("quiet", keywords=["rain"]))
    caplog.set_level(logging.INFO, "streams.alerts")
    metrics = AlertMetrics()
    failures = metrics.failures.labels("unavailable")._value
    async with evaluating(linked, metrics) as evaluator:
        publish(settings, producer, minutes({0: 5}))
        await until(lambda: position(settings) == 2, what="the first minute is not decided")
        links[server].cut()
        publish(settings, producer, minutes({1: 20, 2: 30}))
        await until(lambda: failures.get() >= 2, what="the outage is not noticed")
        assert evaluator.failure is not None
        assert incidents(settings) == {}
        assert position(settings) == 2
        links[server].restore()
        await until(lambda: position(settings) == 6, what="the evaluation does not go on")
        await until(lambda: evaluator.failure is None, what="the failure stays")
    assert [begin for begin, *_ in incidents(settings).values()] == [1]
    assert sum("begins anew" in line for line in caplog.messages) == 1
    assert sum("goes on" in line for line in caplog.messages) == 1


async def test_a_process_that_starts_without_postgres_waits_for_it(
    settings: Settings,
    linked_env: dict[str, str],
    links: dict[str, LinkProxy],
    producer: ConfirmedProducer,
    tmp_path: Path,
) -> None:
    await store_rules(settings, rule())
    publish(settings, producer, minutes({0: 20, 1: 5}))
    links["postgres"].cut()
    roles = [ForkedAlerts(linked_env, tmp_path / f"{number}.log") for number in range(2)]
    try:
        for role in roles:
            await until(lambda role=role: role.log.exists() and WAITS in role.log.read_text(), what="it does not wait")
            role.check()
        assert roles[0].stop() == 0
        links["postgres"].restore()
        await until(lambda: len(incidents(settings)) == 1, what="it does not begin")
        assert roles[1].stop() == 0
    finally:
        for role in roles:
            role.kill()
    text = roles[1].log.read_text("utf-8")
    assert text.count(WAITS) == 1
    assert "Traceback" not in text


async def test_windows_that_kafka_has_deleted_are_counted_and_passed_over(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    fast = settings.model_copy(update=FAST)
    await store_rules(settings, rule(keywords="each"))
    async with evaluating(fast):
        publish(settings, producer, minutes({0: 5}))
        await until(lambda: position(settings) == 2, what="the first minute is not decided")
    publish(settings, producer, minutes({1: 20, 2: 5}))
    ends = query(settings, "SELECT partition, next_offset FROM alert_positions")
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    gone = [TopicPartition(settings.topic_windows, partition, -1) for partition, _ in ends]
    for future in client.delete_records(gone).values():
        future.result(120)
    metrics = AlertMetrics()
    async with evaluating(fast, metrics):
        publish(settings, producer, minutes({3: 20}))
        await until(lambda: len(incidents(settings)) == 1, what="the evaluation does not go on")
    assert [begin for begin, *_ in incidents(settings).values()] == [3]
    assert metrics.skipped._value.get() == 4


async def test_a_backlog_is_read_in_slices_and_decided_as_it_would_have_been(
    settings: Settings, producer: ConfirmedProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.alerts.evaluation.intake.SLICE_RECORDS", 10)
    monkeypatch.setattr("streams.alerts.evaluation.intake.SLICE_MS", 250)
    await store_rules(settings, rule(keywords=["coffee", "rain"], for_windows=2))
    for minute in range(40):
        loud = minute % 8 in {3, 4, 5}
        publish(settings, producer, minutes({minute: 20 if loud else 5}) + minutes({minute: 20}, "rain")[:1])
    metrics = AlertMetrics()
    total = offsets(settings, settings.topic_windows)
    async with evaluating(settings.model_copy(update={**FAST, "alert_hold_ms": 50}), metrics):
        await until(lambda: position(settings) == total, what="the backlog is not read")
    found: dict[str, list[tuple[int, int | None]]] = {key.split("|")[1]: [] for key in incidents(settings)}
    for key, (began, ended, *_) in incidents(settings).items():
        found[key.split("|")[1]].append((began, ended))
    assert sorted(found["coffee"]) == [(start, start + 5) for start in range(3, 40, 8)]
    assert found["rain"] == [(0, None)]
    assert metrics.late._value.get() == 0
