"""Reads all classified posts of a partition: the rows that only Postgres holds, and then the records that Kafka holds.

Origins rise along a partition, except for repetitions, and Postgres holds each post once, as it was first delivered. So
the rows with a lower origin than that of Kafka's first record come before this record. If the record is part of a
repetition, some rows with higher origins come before it too: those up to the highest origin that was classified before
the record.

    classified topic   0 1 2 3 4 5 6 4 | 5 6 7 8      Kafka's first record is the second 5
    rows in Postgres   0 1 2 3 4 5 6 7 8              the rows below 7 come first; Kafka's 5 and 6 are repetitions
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from confluent_kafka import Message

from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.offsets import OffsetReader
from connectors.postgres import Connection, connect, postgres_errors
from streams.records import ClassifiedPost, Origin, RecordError, to_ms
from streams.settings import Settings
from streams.windows.completeness import kafka_complete_from
from streams.windows.deltas import Entry
from streams.windows.post import MICRO, PostForCounting, counted_language
from streams.windows.recent import Horizons, RecentPosts

logger = logging.getLogger(__name__)

REPEATED_MAX = 100_000
"""An upper bound on the posts that the classify stage delivers again after a crash: those of the batches in flight."""

ALL_ORIGINS = 2**62
"""Above every offset. If Kafka holds nothing of a partition, all of its rows are counted."""

_ROWS = """
    SELECT id, source, keywords, created_at, label, confidence, sentiment_label, sentiment_score, model_version,
        origin_offset, classified_at, lang, lang_confidence
    FROM posts
    WHERE origin_topic = %s AND origin_partition = %s AND origin_offset > %s AND origin_offset < %s
    ORDER BY origin_offset
    LIMIT %s
"""

_FIRST_DELIVERED = """
    SELECT max(origin_offset)
    FROM (
        SELECT origin_offset, classified_at
        FROM posts
        WHERE origin_topic = %s AND origin_partition = %s AND origin_offset >= %s AND origin_offset < %s
    ) AS near
    WHERE classified_at < %s
"""

_SUMMARY = """
    SELECT count(*), min(origin_offset), max(created_at),
        (SELECT classified_at FROM posts
            WHERE origin_topic = %(raw)s AND origin_partition = %(partition)s ORDER BY origin_offset LIMIT 1),
        (SELECT next_offset FROM sink_offsets WHERE topic = %(classified)s AND partition = %(partition)s),
        (SELECT max(found_at) FROM sink_gaps WHERE topic = %(classified)s AND partition = %(partition)s)
    FROM posts
    WHERE origin_topic = %(raw)s AND origin_partition = %(partition)s AND origin_offset < %(before)s
"""


@dataclass(frozen=True)
class PartitionSurvey:
    """What Kafka and Postgres hold of a partition of the classified topic.

    Attributes:
        partition: the partition.
        low: the offset of the first classified post that Kafka holds; the next offset that it will write if it holds
            none.
        rows_before: the rows with an origin below this one come before `low`.
        rows: how many rows these are; 0 if Kafka holds the partition from its beginning.
        complete_from: the event time, in ms since 1970, from which every post is there; 0 if all posts are.
        reached_ms: an event time, in ms since 1970, that the partition has certainly reached; None if it has no post.
    """

    partition: int
    low: int
    rows_before: int
    rows: int
    complete_from: int
    reached_ms: int | None


class FirstRecord(NamedTuple):
    """The first classified post of a partition that Kafka holds."""

    offset: int
    post: ClassifiedPost


class Page(NamedTuple):
    """Some posts of a partition.

    Attributes:
        entries: the posts, in order.
        end: the offset after the page.
        read: number of rows or records that were read, including those that are not classified posts.
    """

    entries: list[Entry]
    end: int
    read: int


class PostReader:
    """Reads the classified posts of all partitions. Its methods block, and only one thread may use it at a time."""

    def __init__(self, settings: Settings, reader: OffsetReader) -> None:
        self._settings = settings
        self._reader = reader
        self._topic = settings.topic_classified
        self._max_future_ms = int(settings.max_future_s * 1_000)
        self._horizons = Horizons.of(settings)
        self._connection: Connection | None = None

    def survey(self, partition: int) -> PartitionSurvey:
        """Returns what Kafka and Postgres hold of a partition. It asks Postgres only if Kafka has lost posts.

        Raises:
            ConnectorError: Kafka or Postgres did not answer, or rejected the call.
        """
        held_from, high = self._reader.bounds(self._topic, partition)
        first = self._first(partition, held_from, high)
        reached_ms = None if first is None else first.post.created_at.ms
        if held_from == 0:
            return PartitionSurvey(partition, 0, 0, 0, 0, reached_ms)
        low = held_from if first is None else first.offset
        with postgres_errors("looking for the posts that Kafka no longer holds"):
            before = ALL_ORIGINS if first is None else self._rows_before(first)
            found = (
                self._postgres()
                .execute(
                    _SUMMARY,
                    {
                        "classified": self._topic,
                        "raw": self._settings.topic_raw,
                        "partition": partition,
                        "before": before,
                    },
                )
                .fetchone()
            )
        rows, lowest, latest, classified_at, sink, gap = found or (0, None, None, None, None, None)
        if isinstance(latest, datetime):
            reached_ms = to_ms(latest)
        if rows and isinstance(sink, int) and sink >= held_from:
            times = [gap] if lowest == 0 else [gap, classified_at]
            lost = max((to_ms(moment) for moment in times if isinstance(moment, datetime)), default=None)
            complete_from = 0 if lost is None else lost + self._max_future_ms
        else:
            complete_from = kafka_complete_from(
                self._reader, self._topic, partition, low=held_from, max_future_ms=self._max_future_ms
            )
        return PartitionSurvey(partition, low, before, int(str(rows)), complete_from, reached_ms)

    def end(self, partition: int) -> int:
        """Returns the next offset that Kafka will write to a partition."""
        return self._reader.bounds(self._topic, partition)[1]

    def new_recent_posts(self) -> RecentPosts | None:
        """Returns what finds duplicates from the beginning of a partition on; None if duplicates are counted."""
        return self._horizons.begin()

    def rows(self, survey: PartitionSurvey, recent: RecentPosts | None, size: int) -> Iterator[Page]:
        """Yields the posts that only Postgres holds, `size` in a page. Their entries have the offset `survey.low`.

        Each page is a query of its own, so that no transaction stays open while the page is counted. The horizon for
        duplicates is measured on the times of classification. The broker's times, some milliseconds later, are lost.

        Raises:
            ConnectorError: Postgres did not answer, or rejected the call.
        """
        after = -1
        while after < survey.rows_before:
            with postgres_errors("reading posts"):
                found = (
                    self._postgres()
                    .execute(_ROWS, (self._settings.topic_raw, survey.partition, after, survey.rows_before, size))
                    .fetchall()
                )
            if not found:
                return
            entries = []
            for row in found:
                post, classified_at = _from_row(self._settings.topic_raw, survey.partition, row)
                again = recent is not None and recent.add(survey.low - 1, post.id.encode(), classified_at)
                entries.append(Entry(survey.low, post, again))
                after = post.origin.offset
            yield Page(entries, survey.low, len(entries))

    def records(self, partition: int, start: int, end: int, recent: RecentPosts | None, size: int) -> Iterator[Page]:
        """Yields the posts that Kafka holds from offset `start` to below `end`, `size` in a page.

        The last page is empty and ends at `end`. A record that is not a classified post is left out, because the
        aggregate stage dead-lettered it. A batch that cannot be read is left out too; its offsets are logged.

        Raises:
            ConnectorError: Kafka did not answer, or no longer holds `start`.
        """
        messages = self._reader.between(self._topic, partition, start, end, on_unreadable=_warn)
        try:
            while found := list(islice(messages, size)):
                entries = []
                for message in found:
                    with suppress(RecordError):
                        post = PostForCounting.of(self._classified_post(message))
                        offset, appended_ms = offset_of(message), message.timestamp()[1]
                        again = recent is not None and recent.add(offset, message.key(), appended_ms)
                        entries.append(Entry(offset, post, again))
                yield Page(entries, offset_of(found[-1]) + 1, len(found))
        finally:
            messages.close()  # type: ignore[attr-defined] # a generator, which unassigns the partition
        yield Page([], end, 0)

    def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            self._connection.close()
        self._reader.close()

    def _rows_before(self, first: FirstRecord) -> int:
        """Returns the origin below which all rows come before Kafka's first record."""
        topic, partition, offset = self._settings.topic_raw, first.post.origin.partition, first.post.origin.offset
        (found,) = (
            self._postgres()
            .execute(_FIRST_DELIVERED, (topic, partition, offset, offset + REPEATED_MAX, first.post.classified_at))
            .fetchone()
        ) or (None,)
        return found + 1 if isinstance(found, int) else offset

    def _first(self, partition: int, low: int, high: int) -> FirstRecord | None:
        """Returns the first classified post that Kafka holds; None if it holds none."""
        messages = self._reader.between(self._topic, partition, low, high)
        try:
            for message in messages:
                with suppress(RecordError):
                    return FirstRecord(offset_of(message), self._classified_post(message))
        finally:
            messages.close()  # type: ignore[attr-defined]
        return None

    def _classified_post(self, message: Message) -> ClassifiedPost:
        return ClassifiedPost.from_partition(message.value(), self._settings.topic_raw, partition_of(message))

    def _postgres(self) -> Connection:
        if self._connection is None:
            dsn = self._settings.postgres_dsn.get_secret_value()
            self._connection = connect(dsn, application_name="emostream-rebuild")
            self._connection.autocommit = True
        return self._connection


def _warn(batch: UnreadableBatch) -> None:
    logger.warning("the posts of a batch are missing from the rebuilt windows: %s", batch)


def _from_row(topic: str, partition: int, row: tuple[Any, ...]) -> tuple[PostForCounting, int]:
    """Returns the counted part of a row of `_ROWS`, and when the post was classified, in ms since 1970."""
    post_id, source, keywords, created_at, label, confidence, sentiment, score, version, *rest = row
    offset, classified_at, lang, lang_confidence = rest
    post = PostForCounting(
        post_id,
        source,
        tuple(keywords),
        to_ms(created_at),
        label,
        0 if confidence is None else round(confidence * MICRO),
        sentiment,
        0 if sentiment is None else round(score * MICRO),
        version,
        Origin(topic, partition, offset),
        None if lang is None or lang_confidence is None else counted_language(lang),
    )
    return post, to_ms(classified_at)
