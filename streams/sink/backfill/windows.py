"""Copies windows from Redis that Postgres lacks or has in a revision that the sink has passed."""

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
"""A window that changed this shortly ago may still be on its way to the topic."""


@dataclass(frozen=True)
class WindowDifferences:
    """Windows of a page that Postgres should have and does not."""

    missing: list[EmotionWindow]
    behind: list[EmotionWindow]


def compare_windows(
    windows: Sequence[EmotionWindow], stored: Mapping[WindowId, StoredWindow], passed_ms: float
) -> WindowDifferences:
    """Which windows Postgres lacks, and which it has in an older revision. Pure.

    Args:
        windows: as Redis has them.
        stored: by keyword, size and start in seconds since 1970: the revision in Postgres, and whether the labels and
            sentiments of the window are whole there.
        passed_ms: everything published before has been written; a revision is the time of a change in milliseconds, so
            what is newer is the sink's to bring.
    """
    missing, behind = [], []
    for window in windows:
        if window.revision >= passed_ms:
            continue
        revision, whole = stored.get((window.keyword, window.size, window.start.timestamp()), (None, True))
        if revision is None or not whole:
            missing.append(window)
        elif revision < window.revision:
            behind.append(window)
    return WindowDifferences(missing, behind)


async def copy_windows(
    settings: Settings, history: History, findings: Findings, wait: Wait, *, oldest_ms: float | None, write: bool
) -> None:
    """Compare every window in Redis with Postgres, and copy what is wrong if `write` is set.

    Args:
        settings: all settings.
        history: the connection to Postgres.
        findings: where it counts.
        wait: called before each page.
        oldest_ms: when the first record that waits in the windows topic was appended; None if none waits.
        write: whether to copy.

    Raises:
        ConnectorError: Redis or Postgres did not answer, or refused.
    """
    passed_ms = min(time.time() * 1_000, oldest_ms or float("inf")) - SLACK_MS
    findings.windows = 0
    async with open_store(settings) as store:
        for size in store.sizes:
            async for page in store.scan(size):
                wait()
                wrong = compare_windows(page, _stored(history, page), passed_ms)
                findings.windows += len(page)
                findings.windows_missing += len(wrong.missing)
                findings.windows_behind += len(wrong.behind)
                if write:
                    wanted = [*wrong.missing, *wrong.behind]
                    refused = _write(history, wanted)
                    findings.windows_filled += len(wanted) - refused
                    findings.windows_refused += refused


def _stored(history: History, windows: Sequence[EmotionWindow]) -> Mapping[WindowId, StoredWindow]:
    with history.transaction("reading the windows") as connection:
        return windows_sql.stored_windows(connection, windows)


def _write(history: History, windows: Sequence[EmotionWindow]) -> int:
    """Write windows; returns how many Postgres refuses for good."""
    refused: list[EmotionWindow] = []

    def store(part: Sequence[EmotionWindow]) -> None:
        with history.transaction("copying windows") as connection:
            WINDOWS.stage(connection, part)
            windows_sql.delete_incomplete(connection)
            WINDOWS.merge(connection, part)

    def refuse(window: EmotionWindow, why: InvalidDataError) -> None:
        logger.error("the window %s stays out of Postgres: %s", window.key, why)
        refused.append(window)

    store_all(windows, store, refuse)
    return len(refused)
