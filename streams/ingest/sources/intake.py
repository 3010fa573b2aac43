"""Turns events of a source into records of posts and deletions, until they are taken to be written. No I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from connectors.kafka.producer import Outgoing
from connectors.sources.events import Positioned, SourceDeletion, SourceGap, SourcePost, SourceSkipped
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules
from streams.ingest.sources.keywords import KeywordSelection
from streams.ingest.sources.metrics import InstanceMetrics
from streams.ingest.sources.posts import deletion_records, raw_record
from streams.ingest.sources.sent import SentIds
from streams.records import GapRecord, RecordError, SourcePosition, Timestamp

POSTS_AT_ONCE = 256
"""Posts that are searched for keywords, one after the other, before records are made of them.

Each of the two needs its own part of the processor's caches. To do both post by post takes a fifth more time."""


class Taken(NamedTuple):
    """What was read since the last `take`.

    Attributes:
        records: the posts in order, and the deletions in order. They go to different topics.
        gaps: the gaps.
        cursor: where the source continues behind all of it; None if the network has no cursor.
        at: the time of the last event on the network's clock; None if it is not known.
        gap_number: the number of gaps so far, these included.
    """

    records: list[Outgoing]
    gaps: list[GapRecord]
    cursor: str | None
    at: datetime | None
    gap_number: int


class Intake:
    """The buffer between a source and Kafka."""

    def __init__(
        self,
        *,
        instance: str,
        source: str,
        raw_topic: str,
        deletions_topic: str,
        rules: TextRules,
        authors: Authors,
        selection: KeywordSelection,
        sent: SentIds,
        position: SourcePosition | None,
        metrics: InstanceMetrics,
    ) -> None:
        """Continue behind a position.

        Args:
            instance: the name of the instance.
            source: the kind of source, such as `bluesky`.
            raw_topic: the topic that the posts are written to.
            deletions_topic: the topic that the deletions are written to.
            rules: what is done with a text that cannot be stored as it is.
            authors: what is written as the author of a post.
            selection: decides which posts are kept.
            sent: the ids of posts that are in the raw topic already.
            position: the stored position; None if there is none.
            metrics: counts what happens.
        """
        self._instance = instance
        self._source = source
        self._raw_topic = raw_topic
        self._deletions_topic = deletions_topic
        self._rules = rules
        self._authors = authors
        self._selection = selection
        self._kept, self._cut = selection.kept, selection.cut
        self._sent = sent
        self._metrics = metrics
        self._gap_number = position.gaps if position is not None else 0
        self._posts: list[SourcePost] = []  # of which no records are made yet
        self._records: list[Outgoing] = []
        self._gaps: list[GapRecord] = []
        self._cursor = position.cursor if position is not None else None
        self._at: datetime | None = position.at if position is not None else None
        self._newest: datetime | None = self._at
        self._progress = False
        self._after_break = False

    def __len__(self) -> int:
        """The number of posts and deletions in the buffer."""
        return len(self._posts) + len(self._records)

    def connected(self) -> None:
        """Note that a connection begins. If the network has no cursor, the time since the last event is a gap."""
        self._after_break = self._at is not None

    def take_progress(self) -> bool:
        """Returns whether there was a new post or a later event since the last call."""
        progress, self._progress = self._progress, False
        return progress

    def take(self) -> Taken:
        """Empty the buffer, and return what was in it.

        Raises:
            ConnectorError: The keywords are not known. The buffer stays as it is.
        """
        self.make_records()
        taken = Taken(self._records, self._gaps, self._cursor, self._at, self._gap_number)
        self._records, self._gaps = [], []
        kept, cut = self._selection.kept, self._selection.cut
        self._metrics.kept.inc(kept - self._kept)
        self._metrics.cut.inc(cut - self._cut)
        self._kept, self._cut = kept, cut
        return taken

    def add(self, positioned: Positioned) -> None:
        """Add an event.

        Raises:
            ConnectorError: The keywords are not known. The event is not added.
        """
        event, at = positioned.event, positioned.at
        if isinstance(event, SourcePost):
            if len(self._posts) >= POSTS_AT_ONCE:
                self.make_records()
            if event.edited:
                self._metrics.refused("edited")
            else:
                self._posts.append(event)
        elif isinstance(event, SourceSkipped):
            self._metrics.refused(event.reason)
        elif isinstance(event, SourceDeletion):
            self._add_deletion(event, at)
        else:
            self.add_gap(self._after_last_event(event))
        if at is not None:
            if self._after_break:
                self._after_break = False
                if positioned.cursor is None and not isinstance(event, SourceGap):
                    self.add_gap(SourceGap(since=self._at, until=at, reason="the network replays nothing"))
            if self._newest is None or at > self._newest:
                self._newest = at
                self._progress = True
            self._at = at
        self._cursor = positioned.cursor

    def _after_last_event(self, gap: SourceGap) -> SourceGap:
        """Returns a gap that begins with the last event before the connection.

        A source knows its cursor only, which may be earlier. Later events of the connection say nothing about the gap.
        """
        if gap.partial or not self._after_break or gap.since is None or self._at is None:
            return gap
        return replace(gap, since=self._at) if gap.since < self._at <= (gap.until or self._at) else gap

    def add_gap(self, gap: SourceGap) -> None:
        """Add a gap."""
        self._gap_number += 1
        self._metrics.gaps.inc()
        if gap.since is not None and gap.until is not None:
            self._metrics.gap_seconds.inc(max(0.0, (gap.until - gap.since).total_seconds()))
        self._gaps.append(
            GapRecord(
                instance=self._instance,
                source=self._source,
                number=self._gap_number,
                since=None if gap.since is None else Timestamp.of(gap.since),
                until=None if gap.until is None else Timestamp.of(gap.until),
                missing=gap.missing,
                reason=gap.reason,
                found_at=Timestamp.now(UTC),
            )
        )

    def make_records(self) -> None:
        """Make records of the posts that have come since the last call. Those that are not to be sent are dropped.

        Raises:
            ConnectorError: The keywords are not known. The buffer stays as it is.
        """
        keywords = [self._selection.keywords_of(post) for post in self._posts]
        posts, self._posts = self._posts, []
        for post, found in zip(posts, keywords, strict=True):
            if found is None:
                self._metrics.refused("no_keyword")
            else:
                self._add_record(post, found)

    def _add_record(self, post: SourcePost, keywords: tuple[str, ...]) -> None:
        try:
            key, value, cleaned, cut = raw_record(post, self._source, keywords, self._rules, self._authors)
        except RecordError:
            self._metrics.refused("invalid")
            return
        if self._sent.add(key):
            if self._sent.count(key):
                self._metrics.posts.add_to_total()
            else:
                self._metrics.duplicates.inc()
            return
        self._records.append(Outgoing(self._raw_topic, value, key))
        if cleaned or post.cleaned:
            self._metrics.repaired("characters")
        if cut:
            self._metrics.repaired("long_text")
        self._progress = True

    def _add_deletion(self, deletion: SourceDeletion, at: datetime | None) -> None:
        """Add a deletion. A network that repeats it does no harm, so it is sent as often as it comes."""
        self._metrics.deletions.inc()
        when = Timestamp.now(UTC) if at is None else Timestamp.of(at)
        found = deletion_records(deletion, self._source, self._authors, when)
        if not found:
            self._metrics.unmatched.inc()
        self._records += [Outgoing(self._deletions_topic, record.to_json(), record.key) for record in found]
