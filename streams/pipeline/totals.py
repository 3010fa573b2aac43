"""Writes the running totals to a topic once a second, in one record.

A record has the posts, labels and mean sentiment of the top hundred keywords, and of all posts, in the latest window of
the longest size, by default a day. The worker process that owns the shard of the windows of all posts writes it. After
a rebalance, two processes may write for some seconds; readers take the latest record.

A record is written every `SLOW_FACTOR` seconds while the process is behind, and while no posts are counted. An idle
system must cost next to nothing, because the sink writes only while the machine is idle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from itertools import count
from typing import Any

from faust import App
from mode import Service

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.producer import Outgoing
from connectors.repeats import Repeats
from streams.metrics import Metrics
from streams.pipeline.classify import Deliverer
from streams.records import ALL_KEYWORDS, EmotionTotals, KeywordTotals, Timestamp, from_ms
from streams.settings import Settings
from streams.windows.codec import labelled, mean_sentiment
from streams.windows.reader import Row
from streams.windows.top import TopKeywords
from streams.windows.tumbling import shard_of

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""Seconds between two records while posts are counted and the process keeps up."""

SLOW_FACTOR = 10
"""One of so many intervals writes a record while the process is behind, or while no posts are counted."""

MAX_KEYWORDS = 100
"""The most keywords in a record, besides `*`. It keeps records far below Kafka's limit."""


def totals_of(rows: Sequence[Row], at: Timestamp) -> EmotionTotals:
    """Returns the totals of some windows: one row for each keyword, all with the same start and size."""
    first, _ = rows[0]
    return EmotionTotals(
        at=at,
        size=first.size,
        start=from_ms(first.start),
        end=from_ms(first.end),
        keywords={key.keyword: _keyword_totals(row) for key, row in rows},
    )


def _keyword_totals(row: Mapping[str, str]) -> KeywordTotals:
    sentiments = sum(int(posts) for name, posts in row.items() if name.startswith("t:"))
    return KeywordTotals(
        count=labelled(row),
        labels={name[2:]: int(row[name]) for name in sorted(row) if name.startswith("l:")},
        mean_sentiment=mean_sentiment(row, sentiments) if sentiments else None,
        unsupported=int(row.get("u", 0)),
    )


class TotalsFeed(Service):  # type: ignore[misc] # mode ships no types
    """The service that writes the totals if this worker process owns the shard of the windows of all posts."""

    mundane_level = "debug"  # of mode's lines about starting and stopping

    def __init__(
        self,
        app: App,
        settings: Settings,
        top: TopKeywords,
        producer: Deliverer,
        metrics: Metrics,
        *,
        owned: Callable[[], frozenset[int]],
        offsets: Callable[[int], Mapping[int, int]],
        behind: Callable[[], bool],
        **kwargs: Any,  # noqa: ANN401 - mode's
    ) -> None:
        """Create the service.

        `app` stops if Kafka or Redis rejects a call. `owned` returns the shards that this process owns.
        `offsets` returns the offset of an owned shard in each partition, as it was in Redis within the last interval or
        two. `behind` returns whether the process is behind.
        """
        super().__init__(**kwargs)
        self._app = app
        self._topic = settings.topic_totals
        self._top = top
        self._producer = producer
        self._metrics = metrics
        self._owned = owned
        self._offsets = offsets
        self._behind = behind
        self._intervals = count()
        self._repeats = Repeats()
        self._last_offsets: Mapping[int, int] = {}
        self._changed_in = 0
        self._mine = shard_of(ALL_KEYWORDS, settings.shards)

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        async for _ in self.itertimer(INTERVAL_S, name="totals"):
            await self.run_interval()

    async def run_interval(self) -> None:
        """Write the totals, if this process publishes them and a record is due."""
        if self._mine not in self._owned() or not self._due():
            return
        try:
            await self._write()
        except UnavailableError as exc:
            # The next record has all that this one would have had.
            self._metrics.totals_failures.inc()
            if self._repeats.due("totals"):
                logger.warning("skipping records of the running totals: %s", exc)
        except ConnectorError as exc:
            await self._app.crash(exc)
            raise
        else:
            self._repeats.end("totals")

    def _due(self) -> bool:
        number = next(self._intervals)
        # Every post is counted in `*`, so it raises an offset of this shard. The other shards follow within seconds.
        if (offsets := self._offsets(self._mine)) != self._last_offsets:
            self._last_offsets, self._changed_in = offsets, number
        quiet = number - self._changed_in >= SLOW_FACTOR
        return number % SLOW_FACTOR == 0 or not (quiet or self._behind())

    async def _write(self) -> None:
        rows = await self._top.read(1 + MAX_KEYWORDS)
        if rows:
            record = totals_of(rows, Timestamp.now(UTC)).to_json()
            await self._producer.deliver([Outgoing(self._topic, record, ALL_KEYWORDS.encode())])
