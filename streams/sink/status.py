"""What `emostream sink status` shows: what waits and what is missing, from Kafka and Postgres, and what sinks say.

The first needs no running sink; the second is asked over HTTP. Formatting is apart from both
(`streams.cli.sink_status`).
"""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from pydantic import ValidationError

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.offsets import OffsetReader
from streams.connections import kafka_config
from streams.settings import Settings
from streams.sink.backfill.check import Checker
from streams.sink.backlog import BacklogReader, is_near_retention, retention_s
from streams.sink.history import History
from streams.sink.report import SinkReport
from streams.topology import check_topics

ANSWER_S = 5.0
"""For a sink to answer; it looks nothing up, so this is a busy machine's delay."""

LARGEST_ANSWER = 10_000_000
"""Bytes; a partition takes about fifty."""

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a server on all addresses is asked at


@dataclass(frozen=True)
class Gaps:
    """Ranges of `sink_gaps`: records that Postgres lacks and Kafka no longer holds.

    Attributes:
        partition: of the records.
        reason: `expired`, `lost` or `changed`, as the table has it.
        ranges: how many.
        offsets: how many there are in them.
    """

    partition: int
    reason: str
    ranges: int
    offsets: int


@dataclass(frozen=True)
class PartitionStatus:
    """A partition, as Kafka and Postgres have it.

    Attributes:
        partition: its number.
        next_offset: where the sink stands; None where it never was.
        end_offset: the next that Kafka will give.
        records: how many wait and are in Kafka.
        oldest_s: for how many seconds the first of them has waited; None where none waits.
        expired: offsets that left Kafka before they were written, and that the sink has not noted in `sink_gaps` yet.
        skipped: ranges, [first, next), that the sink has passed and that neither the ledger nor `sink_gaps` knows.
    """

    partition: int
    next_offset: int | None
    end_offset: int
    records: int
    oldest_s: float | None
    expired: int
    skipped: tuple[tuple[int, int], ...]

    @property
    def skipped_offsets(self) -> int:
        """Offsets in `skipped`."""
        return sum(end - start for start, end in self.skipped)


@dataclass(frozen=True)
class TopicStatus:
    """A topic, as Kafka and Postgres have it.

    Attributes:
        topic: its name.
        retention_s: how long Kafka keeps a record, in seconds; None for ever.
        last_written_at: when the ledger last grew, or a hole was filled; None if never.
        partitions: each of them.
        gaps: what is in `sink_gaps`.
    """

    topic: str
    retention_s: float | None
    last_written_at: datetime | None
    partitions: tuple[PartitionStatus, ...]
    gaps: tuple[Gaps, ...]

    @property
    def records(self) -> int:
        """How many wait."""
        return sum(one.records for one in self.partitions)

    @property
    def oldest_s(self) -> float | None:
        """For how many seconds the oldest has waited; None where none waits."""
        return max((one.oldest_s for one in self.partitions if one.oldest_s is not None), default=None)

    @property
    def retention_share(self) -> float | None:
        """`oldest_s` as a share of the retention; None where Kafka keeps records for ever."""
        return None if self.retention_s is None else (self.oldest_s or 0.0) / max(self.retention_s, 1e-3)

    @property
    def in_danger(self) -> bool:
        """Whether the backlog comes near the retention."""
        return is_near_retention(self.oldest_s, self.retention_s)

    @property
    def gap_offsets(self) -> dict[int, int]:
        """Offsets in `gaps`, by partition."""
        found: defaultdict[int, int] = defaultdict(int)
        for gap in self.gaps:
            found[gap.partition] += gap.offsets
        return found


@dataclass(frozen=True)
class Answer:
    """What a sink said of itself, or why there is nothing."""

    url: str
    report: SinkReport | None
    error: str | None = None


def default_urls(settings: Settings) -> list[str]:
    """Where a sink with these settings answers on this machine; nowhere if its web server is off."""
    if settings.sink_web_port == 0:
        return []
    host = _LOOPBACK.get(settings.web_bind, settings.web_bind)
    return [f"http://{f'[{host}]' if ':' in host else host}:{settings.sink_web_port}/status"]


def ask(url: str) -> Answer:
    """Ask a sink for its status; never raises for what is wrong with the other end."""
    body = bytearray()
    try:
        # The proxies of the environment are not used: none stands between a sink and its operator. The certificates
        # of the system are, instead of httpx's own.
        with httpx.stream("GET", url, timeout=ANSWER_S, trust_env=False, verify=ssl.create_default_context()) as answer:
            if answer.status_code != httpx.codes.OK:
                return Answer(url, None, f"it answered {answer.status_code} {answer.reason_phrase}; is it a sink?")
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST_ANSWER:
                    return Answer(url, None, f"it answered more than {LARGEST_ANSWER:,} bytes; is it a sink?")
        return Answer(url, SinkReport.model_validate_json(body))
    except ValidationError:
        return Answer(url, None, "what answered is not a sink of this version")
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        return Answer(url, None, _words(exc))


def _words(error: Exception) -> str:
    """What the system said, without its number; else what httpx says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def read_topics(settings: Settings) -> list[TopicStatus]:
    """What waits in Kafka, and what Postgres says of itself. Changes nothing.

    Raises:
        EmostreamError, ConnectorError: a server does not answer, refuses, or was not initialised.
    """
    kafka = kafka_config(settings)
    admin = KafkaAdmin(kafka)
    counts = admin.partition_counts()
    check_topics(settings, counts)
    history = History(settings.postgres_dsn.get_secret_value(), application_name="emostream-status")
    history.check()
    reader = OffsetReader(kafka, group=f"{settings.group_prefix}-sink")
    try:
        return [
            _read_topic(topic, range(counts[topic]), retention_s(admin.topic_config(topic)), history, reader)
            for topic in (settings.topic_classified, settings.topic_windows)
        ]
    finally:
        reader.close()
        history.close()


def _read_topic(
    topic: str, partitions: Sequence[int], kept_s: float | None, history: History, reader: OffsetReader
) -> TopicStatus:
    checker = Checker(history, reader, lambda: None)
    next_offsets: dict[int, int] = {}
    skipped: dict[int, tuple[tuple[int, int], ...]] = {}
    # Before Kafka's offsets: what is written in between then waits no longer, and does not seem to come from nowhere.
    for partition, first, following in checker.partitions(topic):
        next_offsets[partition] = following
        skipped[partition] = tuple(checker.skipped(topic, partition, first, following))
    (last_written_at,) = _query(history, "SELECT max(written_at) FROM sink_ledger WHERE topic = %s", topic)[0]
    gaps = _query(
        history,
        "SELECT partition, reason, count(*), sum(next_offset - first_offset)::bigint FROM sink_gaps "
        "WHERE topic = %s GROUP BY 1, 2 ORDER BY 1, 2",
        topic,
    )
    lows = {partition: reader.bounds(topic, partition)[0] for partition in partitions}
    backlog = BacklogReader(reader, topic).read({p: max(next_offsets.get(p, 0), low) for p, low in lows.items()})
    return TopicStatus(
        topic,
        kept_s,
        last_written_at,
        tuple(
            PartitionStatus(
                one.partition,
                next_offsets.get(one.partition),
                one.end_offset,
                one.records,
                None if one.oldest_ms is None else one.age_s(),
                max(0, lows[one.partition] - next_offsets.get(one.partition, lows[one.partition])),
                skipped.get(one.partition, ()),
            )
            for one in backlog
        ),
        tuple(Gaps(*row) for row in gaps),
    )


def _query(history: History, statement: str, topic: str) -> list[tuple[Any, ...]]:
    with history.transaction("reading the sink's ledger") as connection:
        return connection.execute(statement, (topic,)).fetchall()


def to_json(answers: Iterable[Answer], topics: Iterable[TopicStatus]) -> dict[str, Any]:
    """Everything for machines."""
    return {
        "sinks": [
            {
                "url": answer.url,
                "error": answer.error,
                "report": None if answer.report is None else answer.report.model_dump(mode="json"),
            }
            for answer in answers
        ],
        "topics": [
            {
                "topic": topic.topic,
                "records": topic.records,
                "oldest_s": topic.oldest_s,
                "retention_s": topic.retention_s,
                "retention_share": topic.retention_share,
                "in_danger": topic.in_danger,
                "last_written_at": None if topic.last_written_at is None else topic.last_written_at.isoformat(),
                "partitions": [
                    {
                        "partition": one.partition,
                        "next_offset": one.next_offset,
                        "end_offset": one.end_offset,
                        "records": one.records,
                        "oldest_s": one.oldest_s,
                        "expired": one.expired,
                        "skipped": [{"first_offset": start, "next_offset": end} for start, end in one.skipped],
                    }
                    for one in topic.partitions
                ],
                "gaps": [
                    {"partition": gap.partition, "reason": gap.reason, "ranges": gap.ranges, "offsets": gap.offsets}
                    for gap in topic.gaps
                ],
            }
            for topic in topics
        ],
    }
