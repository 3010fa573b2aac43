"""Decoding records, and storing them if Postgres rejects some: shared by the sink and the backfill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from confluent_kafka import Message

from connectors.errors import InvalidDataError
from connectors.kafka.batch import Batch, partition_of
from streams.records import DeadReason, RecordError

R = TypeVar("R")
T = TypeVar("T")

DeadRecord = tuple[Message, DeadReason, str]
"""A record to dead-letter: its message, the reason, and the error."""


@dataclass(frozen=True)
class Slice(Generic[R]):
    """A batch of messages, decoded, that is written in one transaction.

    Attributes:
        batch: the batch as it was fetched.
        entries: each message with its row; None for a message without a row.
    """

    batch: Batch
    entries: Sequence[tuple[Message, R | None]]


def decode_all(
    messages: Sequence[Message], decode: Callable[[bytes, int], R]
) -> tuple[list[tuple[Message, R | None]], list[DeadRecord]]:
    """Decode the values of messages.

    Args:
        messages: The messages as they were consumed.
        decode: Makes a row of a value and its partition; raises RecordError if the value is not a record.

    Returns:
        Each message with its row, which is None for a tombstone and for a value that is not a record; and the messages
        whose value is not a record.
    """
    entries: list[tuple[Message, R | None]] = []
    dead: list[DeadRecord] = []
    for message in messages:
        value = message.value()
        row: R | None = None
        if value is not None:
            try:
                row = decode(value, partition_of(message))
            except RecordError as exc:
                dead.append((message, DeadReason.INVALID_RECORD, str(exc)))
        entries.append((message, row))
    return entries, dead


def store_all(
    items: Sequence[T], store: Callable[[Sequence[T]], None], on_rejected: Callable[[T, InvalidDataError], None]
) -> None:
    """Store items together; if Postgres rejects them, store each half, and so on down to single items.

    The items are stored in their order.

    Args:
        items: The items to store.
        store: Stores all items that it is given, or none; raises InvalidDataError if Postgres rejects their content.
        on_rejected: Called with each single item that Postgres rejects, after the items before it were stored.
    """
    if not items:
        return
    try:
        store(items)
    except InvalidDataError as exc:
        if len(items) == 1:
            on_rejected(items[0], exc)
            return
        half = len(items) // 2
        store_all(items[:half], store, on_rejected)
        store_all(items[half:], store, on_rejected)
