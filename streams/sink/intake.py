"""Reading records, and writing them where some may be at fault: what the sink and the backfill have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from confluent_kafka import Message

from connectors.errors import InvalidDataError
from streams.records import DeadReason, RecordError

R = TypeVar("R")
T = TypeVar("T")

DeadRecord = tuple[Message, DeadReason, str]
"""A record that cannot be stored, and why."""


def decode_all(
    messages: Sequence[Message], read: Callable[[bytes], R]
) -> tuple[list[tuple[Message, R | None]], list[DeadRecord]]:
    """Each message with its row, None for a tombstone and for what is no record; and those that are none.

    Args:
        messages: as they were consumed.
        read: makes a row of a value; raises RecordError if it is not a record.
    """
    entries: list[tuple[Message, R | None]] = []
    dead: list[DeadRecord] = []
    for message in messages:
        value = message.value()
        row: R | None = None
        if value is not None:
            try:
                row = read(value)
            except RecordError as exc:
                dead.append((message, DeadReason.INVALID_RECORD, str(exc)))
        entries.append((message, row))
    return entries, dead


def store_all(
    items: Sequence[T], store: Callable[[Sequence[T]], None], refuse: Callable[[T, InvalidDataError], None]
) -> None:
    """Store items together; where Postgres does not take them in halves, in order, down to those at fault.

    Args:
        items: what to store.
        store: stores all it is given or nothing; raises InvalidDataError where it cannot for what they say.
        refuse: told each item that is at fault, after those before it and before those after it were stored.
    """
    if not items:
        return
    try:
        store(items)
    except InvalidDataError as exc:
        if len(items) == 1:
            refuse(items[0], exc)
            return
        half = len(items) // 2
        store_all(items[:half], store, refuse)
        store_all(items[half:], store, refuse)
