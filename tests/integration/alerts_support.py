"""Helpers for tests of alerts: rules and windows, and what Postgres has of incidents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.postgres_pool import PostgresPool
from streams.alerts.evaluation.evaluator import Evaluator
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.alerts.evaluation.tables import AlertTables
from streams.alerts.rules.rule import Rule
from streams.alerts.storage.store import add_rule
from streams.query.windows import KeywordWindows
from streams.records import EmotionWindow, LabelStats, from_ms
from streams.settings import Settings
from streams.windows.connect import redis_client, table_arguments
from tests.helpers import NOON_MS
from tests.integration.support import TIMEOUT_S

MINUTE = 60_000
CHANNELS = ("mail", "hook")
FAST: Mapping[str, Any] = {"alert_interval_ms": 50, "alert_hold_ms": 200}


def rule(id_: str = "r1", **fields: Any) -> Rule:
    """Returns a rule: more than 10 posts of `coffee` in a minute."""
    values = {
        "id": id_,
        "name": f"Rule {id_}",
        "keywords": ["coffee"],
        "window_s": 60,
        "measure": {"of": "volume"},
        "condition": {"type": "threshold", "limit": 10},
        "min_posts": 0,
        "cooldown_s": 0,
        **fields,
    }
    return Rule.model_validate(values)


def window(
    keyword: str, minute: int, count: int, *, final: bool = True, labels: Mapping[str, int] | None = None
) -> EmotionWindow:
    """Returns the window of a keyword `minute` minutes after noon."""
    start = from_ms(NOON_MS + minute * MINUTE)
    counts = labels or {"joy": count}
    return EmotionWindow(
        keyword=keyword,
        size=60,
        start=start,
        end=from_ms(NOON_MS + (minute + 1) * MINUTE),
        count=count,
        labels={label: LabelStats(n, 100 * n / max(1, count), 0.5) for label, n in counts.items()},
        models={"m": count},
        sources={"test": count},
        first_event=start,
        last_event=start,
        revision=1,
        final=final,
        late=0,
    )


def publish(settings: Settings, producer: ConfirmedProducer, windows: Iterable[EmotionWindow]) -> None:
    """Write windows to the windows topic, as the workers do."""
    records = [Outgoing(settings.topic_windows, one.to_json(), one.key.encode()) for one in windows]
    producer.submit(records).result(TIMEOUT_S)


def minutes(counts: Mapping[int, int], keyword: str = "coffee") -> list[EmotionWindow]:
    """Returns final windows of a keyword by minute, each with one of all posts; 0 posts have no window."""
    found = [window(keyword, minute, count) for minute, count in counts.items() if count]
    return found + [window("*", minute, count + 5) for minute, count in counts.items()]


def query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement in a connection of its own, and return its rows."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


async def store_rules(settings: Settings, *rules: Rule) -> None:
    """Store new rules."""
    async with pool(settings) as opened, opened.connection("storing rules") as connection:
        for one in rules:
            await add_rule(connection, one)


def pool(settings: Settings) -> PostgresPool:
    """Returns connections of the test's own."""
    return PostgresPool(settings.postgres_dsn.get_secret_value(), application_name="tests")


def incidents(settings: Settings) -> dict[str, tuple[int, int | None, str | None, bool]]:
    """Returns by key: the minutes after noon at which an incident began and ended, why, and whether it is muted."""
    rows = query(settings, "SELECT incident, began_at, ended_at, ended_because, muted FROM alert_incidents")
    return {key: (_minute(began), _minute(ended), because, muted) for key, began, ended, because, muted in rows}


def _minute(at: Any) -> Any:
    return None if at is None else int(at.timestamp() * 1_000 - NOON_MS) // MINUTE


def told(settings: Settings) -> list[tuple[str, str, str]]:
    """Returns the incident, event and channel of each row of the outbox."""
    return query(settings, "SELECT incident, event, channel FROM alert_outbox ORDER BY 1, 2 DESC, 3")


def position(settings: Settings) -> int:
    """Returns how many records of the windows topic the evaluation has passed."""
    [(found,)] = query(settings, "SELECT coalesce(sum(next_offset), 0)::integer FROM alert_positions")
    return int(found)


@asynccontextmanager
async def evaluating(settings: Settings, metrics: AlertMetrics | None = None) -> AsyncIterator[Evaluator]:
    """Evaluate in this process, without a lease, until the block ends."""
    stop = asyncio.Event()
    client = redis_client(settings)
    async with pool(settings) as opened:
        tables = AlertTables(KeywordWindows(client, **table_arguments(settings)))
        found = AlertMetrics() if metrics is None else metrics
        evaluator = Evaluator(settings, opened, tables, found, holder=f"test {id(stop)}", channels=lambda: CHANNELS)
        task = asyncio.create_task(evaluator.run(stop))
        try:
            yield evaluator
        finally:
            stop.set()
            await asyncio.wait_for(task, TIMEOUT_S)
            await client.aclose()


async def until(condition: Any, *, what: str) -> None:
    """Let the evaluation run until a condition holds, which may block for a moment."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process or task makes it true
            await asyncio.sleep(0.05)
    assert condition(), what
