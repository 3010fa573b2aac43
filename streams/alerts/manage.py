"""Reads and changes rules, incidents and mutes, for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from connectors.postgres_pool import AsyncConnection, PostgresPool
from streams.alerts.delivery.channels import read_channel_types
from streams.alerts.rules.file import read_rules
from streams.alerts.rules.problems import Served
from streams.alerts.rules.rule import EmotionShare, Rule, SentimentShare
from streams.alerts.storage import sql, store
from streams.settings import Settings

T = TypeVar("T")

_WAIT_S = 10.0


def with_connection(settings: Settings, doing: str, run: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Returns what `run` returns for a connection.

    Args:
        settings: All settings.
        doing: What is attempted, for messages.
        run: Called once.

    Raises:
        ConnectorError: Postgres does not answer, has no tables of alerts, or rejects the call.
    """

    async def connected() -> T:
        dsn = settings.postgres_dsn.get_secret_value()
        async with (
            PostgresPool(dsn, application_name="emostream-alerts", max_size=1, wait_s=_WAIT_S) as pool,
            store.alerts_connection(pool, doing) as connection,
        ):
            return await run(connection)

    return asyncio.run(connected())


def rules_of(settings: Settings, path: Path) -> list[Rule]:
    """Returns the rules of a file, checked against the sizes of windows and the channels of these settings.

    Raises:
        SettingsError: The file, or that of the channels, cannot be read, or a rule cannot be used.
    """
    # Whoever manages the rules may have no channels file.
    channels = None if settings.alert_channels is None else read_channel_types(settings.alert_channels)
    return read_rules(path, Served(sizes=[size.seconds for size in settings.window_sizes], channels=channels))


async def unknown_labels(connection: AsyncConnection, rules: list[Rule]) -> list[str]:
    """Returns what to tell about rules whose label no window of the last week has, which may be a wrong spelling."""
    known = {
        kind: {label for (label,) in await store.fetch_all(connection, statement)}
        for kind, statement in (("emotion", sql.EMOTIONS_OF_WEEK), ("sentiment", sql.SENTIMENTS_OF_WEEK))
    }
    found = []
    for rule in rules:
        measure = rule.measure
        if not isinstance(measure, EmotionShare | SentimentShare):
            continue
        labels = known[measure.of]
        if labels and measure.label not in labels:
            have = ", ".join(sorted(labels))
            found.append(f"rule {rule.id}: no window of the last week has the {measure.of} {measure.label}, but {have}")
    return found
