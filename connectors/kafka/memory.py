"""Estimates how many bytes a process keeps for records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from confluent_kafka import Message

MESSAGE_BYTES: Final = 500
"""Bytes that a fetched message takes besides its value."""

BATCH_MEMORY: Final = 16 * 2**20
"""A batch that takes this many bytes is full. A limit on the number of records alone would not limit its memory."""


def memory_of(messages: Sequence[Message]) -> int:
    """Returns about how many bytes fetched messages take."""
    return sum(map(len, messages)) + MESSAGE_BYTES * len(messages)
