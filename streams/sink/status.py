"""Collects what `emostream sink status` shows.

`read_topics` reads the backlog and the gaps from Kafka and Postgres, and needs no running sink. `ask` gets the status
of a running sink over HTTP. `streams.cli.sink_status` formats both.
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
from streams.topology import check_topics, sink_topics

ANSWER_S = 5.0
"""Seconds to wait for the answer of a sink. It has its status at hand, but its machine may be busy."""

LARGEST_ANSWER = 10_000_000
"""Most bytes of an answer. A partition takes about fifty."""

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the addresses at which to ask a server that listens on all


@dataclass(frozen=True)
class Gaps:
    """The gaps of a partition that have the same reason: offsets in `sink_gaps`, which Kafka no longer holds.

    Attributes:
        partition: the number of the partition.
        reason: `expired` (Kafka deleted the records before they were written), `lost` (rows are missing) or `changed`
            (rows have other values).
        ranges: the number of gaps.
        offsets: the number of offsets in the gaps.
    """

    partition: int
    reason: str
    ranges: int
    offsets: int


@dataclass(frozen=True)
class PartitionStatus:
    """The status of a partition in Kafka and Postgres.

    Attributes:
        partition: the number of the partition.
        next_offset: the next offset that the sink will write; None if it has never read the partition.
        end_offset: the offset of the next record that Kafka will append.
        records: the number of records in Kafka that wait.
        oldest_s: seconds that the first of them has waited; None if none waits.
        expired: the number of offsets that Kafka deleted before they were written, and that are not in `sink_gaps` yet.
        skipped: ranges, [first, next), that the sink has passed, but that are neither in the ledger nor in `sink_gaps`.
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
        """The number of offsets in `skipped`."""
        return sum(end - start for start, end in self.skipped)


@dataclass(frozen=True)
class TopicStatus:
    """The status of a topic in Kafka and Postgres.

    Attributes:
        topic: the name of the topic.
        retention_s: seconds that Kafka keeps a record; None if it never deletes records.
        last_written_at: when a range of the ledger was last written; None if there is none.
        partitions: the status of each partition.
        gaps: the gaps in `sink_gaps`, by partition and reason.
    """

    topic: str
    retention_s: float | None
    last_written_at: datetime | None
    partitions: tuple[PartitionStatus, ...]
    gaps: tuple[Gaps, ...]

    @property
    def records(self) -> int:
        """The number of records that wait."""
        return sum(one.records for one in self.partitions)

    @property
    def oldest_s(self) -> float | None:
        """Seconds that the oldest record has waited; None if none waits."""
        return max((one.oldest_s for one in self.partitions if one.oldest_s is not None), default=None)

    @property
    def retention_share(self) -> float | None:
        """`oldest_s` as a share of the retention; None if Kafka never deletes records."""
        return None if self.retention_s is None else (self.oldest_s or 0.0) / max(self.retention_s, 1e-3)

    @property
    def in_danger(self) -> bool:
        """Whether the backlog is near the retention."""
        return is_near_retention(self.oldest_s, self.retention_s)

    @property
    def gap_offsets(self) -> dict[int, int]:
        """The number of offsets in `gaps`, by partition."""
        found: defaultdict[int, int] = defaultdict(int)
        for gap in self.gaps:
            found[gap.partition] += gap.offsets
        return found


@dataclass(frozen=True)
class Answer:
    """The answer of a sink.

    Attributes:
        url: the address that was asked.
        report: the status of the sink; None if there is no such answer.
        error: why there is none; None if there is one.
    """

    url: str
    report: SinkReport | None
    error: str | None = None


def default_urls(settings: Settings) -> list[str]:
    """Returns the address of the status of a sink on this machine; none if its web server is off."""
    if settings.sink_web_port == 0:
        return []
    host = _LOOPBACK.get(settings.web_bind, settings.web_bind)
    return [f"http://{f'[{host}]' if ':' in host else host}:{settings.sink_web_port}/status"]


def ask(url: str, *, timeout_s: float = ANSWER_S) -> Answer:
    """Ask a sink for its status. Errors of the connection and of the answer are in the result, and not raised.

    `timeout_s` is for how many seconds a sink may be silent.
    """
    body = bytearray()
    try:
        # A sink is asked directly, without the proxies of the environment. The certificates are those of the system,
        # instead of httpx's own. To load them takes far longer than the request, so only HTTPS does.
        verify = ssl.create_default_context() if url.startswith("https:") else False
        with httpx.stream("GET", url, timeout=timeout_s, trust_env=False, verify=verify) as answer:
            if answer.status_code != httpx.codes.OK:
                return Answer(url, None, f"it answered {answer.status_code} {answer.reason_phrase}; is it a sink?")
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST_ANSWER:
                    return Answer(url, None, f"it answered more than {LARGEST_ANSWER:,} bytes; is it a sink?")
        return Answer(url, SinkReport.model_validate_json(body))
    except ValidationError:
        return Answer(url, None, "the answer is not the status of a sink of this version")
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        return Answer(url, None, _describe(exc))


def _describe(error: Exception) -> str:
    """Returns the message of the system, without its number, if there is one; else that of httpx."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def read_topics(settings: Settings) -> list[TopicStatus]:
    """Returns the status of each topic of the sink, from Kafka and Postgres. Changes nothing.

    Raises:
        TopologyError: The topics do not fit the settings.
        ConnectorError: Kafka or Postgres does not answer or rejects the call, or the database has another schema.
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
            for topic in sink_topics(settings)
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
    # Postgres is read before Kafka: in the other order, a next offset could be above the end of its partition.
    for partition, first, end in checker.partitions(topic):
        next_offsets[partition] = end
        skipped[partition] = tuple(checker.skipped(topic, partition, first, end))
    (last_written_at,) = _query(history, "SELECT max(written_at) FROM sink_ledger WHERE topic = %s", topic)[0]
    gaps = _query(
        history,
        "SELECT partition, reason, count(*), sum(next_offset - first_offset)::bigint FROM sink_gaps "
        "WHERE topic = %s GROUP BY 1, 2 ORDER BY 1, 2",
        topic,
    )
    lows = {partition: low for partition, (low, _) in reader.all_bounds(topic, partitions).items()}
    backlog = BacklogReader(reader, topic).read({partition: next_offsets.get(partition, 0) for partition in partitions})
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
    """Returns everything as JSON values."""
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
