"""Erases posts, or all posts of accounts, for an operator: sends the deletions that a network would announce."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.connections import kafka_config
from streams.errors import InputError
from streams.ingest.authors import Authors
from streams.ingest.produce import partitions_of
from streams.ingest.sources.kinds import KINDS
from streams.ops.audit.waiting import why_sink_waits
from streams.records import DeletionReason, DeletionRecord, RecordError, Timestamp
from streams.settings import Settings
from streams.sink import erasures_sql
from streams.sink.history import History

POLL_S = 0.5
"""Seconds between two looks at how far the sink is."""


@dataclass(frozen=True)
class Forgotten:
    """What was sent, and what the sink has done.

    Attributes:
        deletions: the records in the deletions topic.
        applied: whether the sink has applied them; None if nobody waited for it.
        rows: the rows of posts that it has erased, in all deletions of these posts and accounts; None if it has not
            applied them, or nobody waited.
        why: why the sink on this machine does not write, in words; empty if it does, or does not answer.
    """

    deletions: tuple[DeletionRecord, ...]
    applied: bool | None = None
    rows: int | None = None
    why: str = ""


def deletions_of(
    settings: Settings, ids: Sequence[str], authors: Sequence[str], source: str | None, *, as_stored: bool
) -> tuple[DeletionRecord, ...]:
    """Returns the deletions of some posts and of all posts of some accounts, without sending them.

    Args:
        settings: how authors are hashed.
        ids: ids of posts, as posts have them.
        authors: accounts of the source, as the network names them.
        source: the kind of source of the authors.
        as_stored: whether `authors` are as posts have them, so that they are not hashed.

    Raises:
        InputError: Posts of the source have no authors, or nobody knows how its authors are written; or an id or an
            author is empty or too long.
    """
    now = Timestamp.now(UTC)
    written = [each for author in authors for each in _written(settings, author, source or "", as_stored=as_stored)]
    fields: list[dict[str, object]] = [{"id": id_} for id_ in dict.fromkeys(ids)]
    fields += [{"author": author, "source": source} for author in dict.fromkeys(written)]
    try:
        return tuple(
            DeletionRecord.from_fields({**each, "at": now, "reason": DeletionReason.OPERATOR}) for each in fields
        )
    except RecordError as exc:
        raise InputError(f"this cannot be an id or an author of a post: {exc}") from None


def _written(settings: Settings, author: str, source: str, *, as_stored: bool) -> tuple[str, ...]:
    if as_stored:
        return (author,)
    if source not in KINDS:
        raise InputError(
            f"{source!r} is no source of `emostream ingest`, so its authors are as their producer wrote them: give the "
            "author as the posts have it, and --as-stored"
        )
    found = Authors.of(settings).erasable(source, author)
    if not found:
        raise InputError(
            "with these settings posts have no authors, so those of an account cannot be found: set "
            "EMOSTREAM_AUTHOR_KEY to the key with which they were hashed, or give their --id"
        )
    return found


def forget(settings: Settings, deletions: Sequence[DeletionRecord], *, wait_s: float | None = None) -> Forgotten:
    """Send deletions, and wait until Kafka has confirmed them.

    Args:
        settings: where Kafka and Postgres are.
        deletions: what to delete.
        wait_s: seconds to wait until the sink has applied them; None does not wait, and needs no Postgres.

    Raises:
        TopologyError: The topic does not exist.
        ConnectorError: Kafka or Postgres does not answer, or rejects the call. The deletions may have been sent.
    """
    kafka, topic = kafka_config(settings), settings.topic_deletions
    partitions = range(partitions_of(KafkaAdmin(kafka), topic))
    producer = ConfirmedProducer(kafka, client_id="emostream-forget", give_up_after_s=settings.kafka_timeout_s)
    with closing(producer):
        producer.submit([Outgoing(topic, record.to_json(), record.key) for record in deletions]).result()
    if wait_s is None:
        return Forgotten(tuple(deletions))
    with (
        closing(OffsetReader(kafka, group=f"{settings.group_prefix}-forget")) as reader,
        closing(History(settings.postgres_dsn.get_secret_value(), application_name="emostream-forget")) as history,
    ):
        ends = {partition: high for partition, (_, high) in reader.all_bounds(topic, partitions).items()}
        applied = _wait(history, topic, ends, time.monotonic() + wait_s)
        if not applied:
            return Forgotten(tuple(deletions), applied=False, why=why_sink_waits(settings))
        with history.transaction("counting erased posts") as connection:
            return Forgotten(tuple(deletions), applied=True, rows=erasures_sql.rows_of(connection, deletions))


def _wait(history: History, topic: str, ends: dict[int, int], deadline: float) -> bool:
    """Returns whether Postgres has everything below these offsets before the deadline."""
    while True:
        try:
            stored = history.offsets(topic, ends)
        except UnavailableError:
            if time.monotonic() >= deadline:
                raise
        else:
            if all(stored.get(partition, 0) >= end for partition, end in ends.items()):
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
