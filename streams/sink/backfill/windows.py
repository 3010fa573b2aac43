"""Copies windows from Redis that are missing in Postgres, or too old there: step 3 of `streams.sink.backfill.run`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.errors import InvalidDataError
from streams.records import EmotionWindow
from streams.settings import Settings
from streams.sink import windows_sql
from streams.sink.backfill.holes import Findings
from streams.sink.backfill.wait import Wait
from streams.sink.history import History
from streams.sink.intake import store_all
from streams.sink.targets import WINDOWS
from streams.sink.windows_sql import StoredWindow, WindowId
from streams.windows.connect import open_store

logger = logging.getLogger(__name__)

SLACK_MS = 60_000
"""Milliseconds after its last change during which a window may still be on its way to the topic."""


@dataclass(frozen=True)
class WindowDifferences:
    """The windows of a page that Postgres should have, and does not.

    Attributes:
        missing: the windows that Postgres lacks, or whose labels or sentiments it lacks.
        outdated: the windows that Postgres has in a lower revision.
    """

    missing: list[EmotionWindow]
    outdated: list[EmotionWindow]


def compare_windows(
    windows: Sequence[EmotionWindow], stored: Mapping[WindowId, StoredWindow], passed_ms: float
) -> WindowDifferences:
    """Compare windows in Redis with those in Postgres. Pure.

    Args:
        windows: The windows in Redis.
        stored: The windows in Postgres.
        passed_ms: The sink has written all windows that were published before this time, in milliseconds since 1970. A
            revision is the time of a change, so the sink is still to write windows with a higher one.
    """
    missing, outdated = [], []
    for window in windows:
        if window.revision >= passed_ms:
            continue
        found = stored.get((window.keyword, window.size, window.start.timestamp()))
        if found is None or not found.complete:
            missing.append(window)
        elif found.revision < window.revision:
            outdated.append(window)
    return WindowDifferences(missing, outdated)


async def copy_windows(
    settings: Settings, history: History, findings: Findings, wait: Wait, *, oldest_ms: float | None, write: bool
) -> None:
    """Compare every window in Redis with Postgres, and copy those that are missing or outdated if `write` is set.

    Args:
        settings: The settings.
        history: The connection to Postgres.
        findings: Counts what was compared and copied.
        wait: Called before each page of windows.
        oldest_ms: When the first record that waits in the windows topic was appended, in milliseconds since 1970; None
            if none waits.
        write: Whether to copy windows.

    Raises:
        ConnectorError: Redis or Postgres does not answer, or rejects the call.
    """
    passed_ms = min(time.time() * 1_000, oldest_ms or float("inf")) - SLACK_MS
    async with open_store(settings) as store:
        for size in store.sizes:
            async for page in store.scan(size):
                wait()
                different = compare_windows(page, _stored(history, page), passed_ms)
                findings.windows += len(page)
                findings.windows_missing += len(different.missing)
                findings.windows_outdated += len(different.outdated)
                if write:
                    wanted = [*different.missing, *different.outdated]
                    rejected = _write(history, wanted)
                    findings.windows_filled += len(wanted) - rejected
                    findings.windows_rejected += rejected


def _stored(history: History, windows: Sequence[EmotionWindow]) -> Mapping[WindowId, StoredWindow]:
    with history.transaction("reading the windows") as connection:
        return windows_sql.stored_windows(connection, windows)


def _write(history: History, windows: Sequence[EmotionWindow]) -> int:
    """Write windows; returns the number of windows that Postgres rejects."""
    rejected: list[EmotionWindow] = []

    def store(part: Sequence[EmotionWindow]) -> None:
        with history.transaction("copying windows") as connection:
            WINDOWS.copy_to_staging(connection, part)
            windows_sql.delete_incomplete(connection)
            WINDOWS.merge(connection, part)

    def on_rejected(window: EmotionWindow, why: InvalidDataError) -> None:
        logger.error("Postgres rejects the window %s: %s", window.key, why)
        rejected.append(window)

    store_all(windows, store, on_rejected)
    return len(rejected)
