"""Writes the running totals to a topic once a second: everything that a wall display needs, in one record.

They are those of the latest window of the longest size, by default of the day. One worker writes them, the owner of
the shard of all posts. A worker that only believes to own it may write too for some seconds: readers take the latest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from faust import App
from mode import Service

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.producer import Outgoing
from streams.agents.classify import Deliverer
from streams.metrics import Metrics
from streams.records import ALL_KEYWORDS, EmotionTotals, EmotionWindow, KeywordTotals
from streams.settings import Settings
from streams.windows.reader import WindowReader
from streams.windows.tumbling import shard_of

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0

MAX_KEYWORDS = 100
"""The keywords with most posts; a record must stay far below Kafka's limit."""


def totals_of(windows: Sequence[EmotionWindow], at: datetime) -> EmotionTotals:
    """The record of one window's state: `windows` are those of each keyword, all of the same start and size."""
    first = windows[0]
    return EmotionTotals(
        at=at,
        size=first.size,
        start=first.start,
        end=first.end,
        keywords={
            window.keyword: KeywordTotals(
                count=window.count,
                labels={label: stats.count for label, stats in window.labels.items()},
                avg_sentiment=window.sentiment.avg_score if window.sentiment is not None else None,
            )
            for window in windows
        },
    )


class TotalsFeed(Service):  # type: ignore[misc] # mode ships no types
    """The feed of one worker."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        store: WindowReader,
        producer: Deliverer,
        metrics: Metrics,
        *,
        owned: Callable[[], frozenset[int]],
        **kwargs: Any,  # noqa: ANN401 - mode's
    ) -> None:
        """Prepare the feed.

        Args:
            app: the application, crashed where Kafka or Redis refuses for good.
            settings: all settings.
            store: the window tables.
            producer: writes the records.
            metrics: where failures are counted.
            owned: the shards that this worker owns.
            kwargs: for `mode.Service`.
        """
        super().__init__(**kwargs)
        self._app = app
        self._topic = settings.topic_totals
        self._size = settings.window_sizes[-1].seconds
        self._store = store
        self._producer = producer
        self._metrics = metrics
        self._owned = owned
        self._mine = shard_of(ALL_KEYWORDS, settings.shards)

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        async for _ in self.itertimer(INTERVAL_S, name="totals"):
            await self._tick()

    async def _tick(self) -> None:
        if self._mine not in self._owned():
            return
        try:
            await self._write()
        except UnavailableError as exc:
            # The next second brings the next record; nothing is missing for it.
            self._metrics.totals_failures.inc()
            logger.warning("no totals this time: %s", exc)
        except ConnectorError as exc:
            await self._app.crash(exc)
            raise

    async def _write(self) -> None:
        windows = await self._store.sliding(self._size, 1, limit=1 + MAX_KEYWORDS)
        if windows:
            record = totals_of(windows, datetime.now(UTC))
            await self._producer.deliver(
                [Outgoing(self._topic, record.model_dump_json().encode(), ALL_KEYWORDS.encode())]
            )
