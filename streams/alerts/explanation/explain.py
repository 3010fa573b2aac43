"""Finds the words and posts that moved the value of an incident, by reading the classified posts of its time in Kafka.

The reading is bounded: by records, half of them from the time before the incident, and by seconds. What cannot be read
in these bounds is left out, and the reason says so. An incident is told in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

import msgspec
from confluent_kafka import Message
from msgspec.structs import replace as changed

from connectors.deadline import Deadline
from connectors.errors import ConnectorError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.config import KafkaConfig
from connectors.kafka.offsets import OffsetReader
from streams.alerts.explanation.evidence import SPARE_EXAMPLES, Evidence, concentration
from streams.alerts.rules.rule import EmotionShare, Measure, SentimentShare, Volume
from streams.alerts.storage.stored import MAX_EXAMPLES, Explanation, Incident
from streams.characters import cut
from streams.process.background import in_background
from streams.records import ALL_KEYWORDS, AlertReason, ClassifiedPost, RecordError, to_ms
from streams.redact import redact

logger = logging.getLogger(__name__)

MAX_TEXT_CHARS: Final = 1_000
"""The most characters of an example's text that are stored."""

_GRACE: Final = timedelta(minutes=10)
"""How long after the end of the incident's windows its posts may have been classified."""

_LEAST_BEFORE: Final = timedelta(hours=1)
_LONGER_BEFORE: Final = 3
"""The time before an incident that is compared with it is so many times as long, and at least `_LEAST_BEFORE`."""


@dataclass(frozen=True)
class Bounds:
    """How much is read for one incident.

    Attributes:
        records: the most records.
        seconds: seconds after which reading ends with what was found.
    """

    records: int = 200_000
    seconds: float = 20.0


class Explainer(Protocol):
    """Adds words and posts to the reason of an incident."""

    async def explain(self, incident: Incident, /) -> Explanation:
        """Returns the reason with words and posts, or with a note that says why there are none. Never raises."""


class _Ranges(NamedTuple):
    """The offsets of one partition to read, from the time before an incident and from its own, and whether all are."""

    before: range
    now: range
    is_all: bool


class KafkaExplainer:
    """Reads the posts of an incident from the classified topic."""

    def __init__(self, config: KafkaConfig, topic: str, *, group: str, bounds: Bounds | None = None) -> None:
        """Prepare to read. Connections are made for each incident.

        Args:
            config: how to reach Kafka.
            topic: the classified topic.
            group: a group name, which librdkafka requires and does not use here.
            bounds: how much is read for one incident.
        """
        self._config = config
        self._topic = topic
        self._group = group
        self._bounds = bounds or Bounds()

    async def explain(self, incident: Incident) -> Explanation:
        """See `Explainer.explain`."""
        # A request to Kafka may take longer than the time that is left for the reading.
        within_s = self._bounds.seconds + self._config.timeout_s
        reading = in_background(lambda: self._read(incident), name="alert-explainer")
        try:
            return await asyncio.wait_for(asyncio.wrap_future(reading), within_s)
        except TimeoutError:
            problem = f"Kafka did not answer within {within_s:g} s"
        except ConnectorError as exc:
            problem = redact(str(exc))
        logger.warning("the words and posts of the incident %s are missing: %s", incident.incident, problem)
        return Explanation(changed(incident.reason, note=f"Words and posts are missing: {problem}."))

    def _read(self, incident: Incident) -> Explanation:
        evidence = Evidence(incident.keyword, measure_of(incident))
        spans = _Spans.of(incident)
        deadline = Deadline(self._bounds.seconds)
        found = PostsRead()
        collector = _Collector(incident.keyword, evidence, spans, found)
        with closing(OffsetReader(self._config, group=self._group)) as reader:
            partitions = KafkaAdmin(self._config).partition_counts().get(self._topic, 0)
            for partition in range(partitions):
                ranges = self._ranges(reader, partition, spans, self._bounds.records // max(1, partitions))
                found.is_all &= ranges.is_all
                for offsets in ranges.now, ranges.before:
                    if not self._collect(reader, partition, offsets, collector, deadline):
                        found.in_time = False
        return Explanation(reason_with(incident.reason, evidence, found), evidence.authors())

    def _ranges(self, reader: OffsetReader, partition: int, spans: _Spans, most: int) -> _Ranges:
        low, high = reader.bounds(self._topic, partition)

        def offset_at(moment: datetime) -> int:
            found = reader.offset_at(self._topic, partition, to_ms(moment))
            return high if found is None else min(max(found, low), high)

        first, began, end = offset_at(spans.first), offset_at(spans.began), offset_at(spans.decided + _GRACE)
        if end <= began:
            end = high  # old posts that were classified later
        before = range(max(first, began - most // 2), began)
        now = range(max(began, end - (most - len(before))), end)
        return _Ranges(before, now, is_all=before.start == first and now.start == began)

    def _collect(
        self, reader: OffsetReader, partition: int, offsets: range, collector: _Collector, deadline: Deadline
    ) -> bool:
        """Hand the posts of a range to the collector. Returns False if the time was over before the end."""
        if offsets:
            # Closing it frees the reader for the next range, also if the time is over before the end of this one.
            with closing(_values(reader.between(self._topic, partition, offsets.start, offsets.stop))) as values:
                for value in values:
                    if not deadline.left_s:
                        return False
                    collector.add(value)
        return True


def _values(messages: Iterator[Message]) -> Generator[bytes | None]:
    for message in messages:
        yield message.value()


class _Spans(NamedTuple):
    """The time before an incident, and that of its windows: from `first`, from `began`, to before `decided`."""

    first: datetime
    began: datetime
    decided: datetime

    @classmethod
    def of(cls, incident: Incident) -> _Spans:
        before = max(_LEAST_BEFORE, _LONGER_BEFORE * (incident.decided - incident.began))
        return cls(incident.began - before, incident.began, incident.decided)


@dataclass
class PostsRead:
    """What was read.

    Attributes:
        now: posts of the incident.
        before: posts before it.
        is_all: whether all posts were to be read.
        in_time: whether they were read in time.
    """

    now: int = 0
    before: int = 0
    is_all: bool = True
    in_time: bool = True


class _Collector:
    """Hands posts of the keyword and of the two spans to the evidence."""

    def __init__(self, keyword: str, evidence: Evidence, spans: _Spans, found: PostsRead) -> None:
        self._evidence = evidence
        self._spans = spans
        self._found = found
        self._keyword = None if keyword == ALL_KEYWORDS else keyword
        # Each record is JSON as msgspec writes it. Most have other keywords, and need not be decoded.
        self._needle = b"" if self._keyword is None else msgspec.json.encode(self._keyword)

    def add(self, value: bytes | None) -> None:
        if value is None or self._needle not in value:
            return
        try:
            post = ClassifiedPost.from_json(value)
        except RecordError:
            return  # the audit and the sink report it
        if self._keyword is not None and self._keyword not in post.keywords:
            return
        if self._spans.began <= post.created_at < self._spans.decided:
            self._found.now += 1
            self._evidence.add(post, now=True)
        elif self._spans.first <= post.created_at < self._spans.began:
            self._found.before += 1
            self._evidence.add(post, now=False)


def measure_of(incident: Incident) -> Measure:
    """Returns what the rule of an incident measured when it began."""
    if incident.measure == "volume":
        return Volume()
    kind = EmotionShare if incident.measure == "emotion" else SentimentShare
    return kind(label=incident.label or "")


def reason_with(reason: AlertReason, evidence: Evidence, found: PostsRead) -> AlertReason:
    """Returns a reason with the words and posts of the evidence, and a note on what they are chosen from.

    It has more posts than are told; see `Explanation`.
    """
    same = concentration(evidence.sameness())
    notes = [note for note in (_limits(found, reason.posts), same and f"{same[:1].upper()}{same[1:]}.") if note]
    return changed(
        reason,
        words=evidence.words(),
        examples=evidence.examples(MAX_EXAMPLES + SPARE_EXAMPLES, show=lambda text: cut(text, MAX_TEXT_CHARS)),
        note=" ".join(notes) or None,
    )


def _limits(found: PostsRead, posts: int) -> str | None:
    """Returns why there are no words and posts, or what they are chosen from; `posts` are those of the last window."""
    if not found.now:
        if not posts and found.in_time:
            return "There are no words and posts, because the window has no posts."
        why = "does not hold the posts of the incident" if found.in_time else "did not give the posts in time"
        return f"Words and posts are missing: Kafka {why}."
    if not found.in_time:
        return f"Words and posts are chosen from {found.now:,} posts, which could be read in time."
    if not found.is_all:
        return f"Words and posts are chosen from {found.now:,} posts, a part of all."
    return None
