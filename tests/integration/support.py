"""What the integration tests share: making raw posts, waiting, and the audit as a condition to wait for."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer

from streams.audit import Check, audit
from streams.demo.processes import Role
from streams.records import rfc3339
from streams.settings import Settings
from streams.windows.store import WindowStore


def produce(settings: Settings, values: Sequence[bytes | None], *, partition: int = -1) -> None:
    """Write raw values as they are; the key is the index."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 5})
    for index, value in enumerate(values):
        while True:
            try:
                producer.produce(settings.topic_raw, value, str(index).encode(), partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(30) == 0


def post(text: str, **fields: Any) -> bytes:
    """A raw post; `fields` override the defaults."""
    values = {
        "id": secrets.token_hex(8),
        "text": text,
        "created_at": rfc3339(datetime.now(UTC)),
        "source": "test",
        "keywords": ["coffee"],
        **fields,
    }
    return json.dumps(values).encode()


def wait_for(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until a condition holds; fail with `what` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.1)


async def balanced(settings: Settings, store: WindowStore, roles: Sequence[Role], *, seconds: float) -> list[Check]:
    """Wait until the audit balances while every role runs; the checks, which say what does not where it never does."""
    deadline = time.monotonic() + seconds
    while True:
        for role in roles:
            role.check()
        checks = await audit(settings, store, lambda *_: None)
        if all(check.ok for check in checks) or time.monotonic() > deadline:
            return checks
        await asyncio.sleep(0.5)


def failures(checks: Sequence[Check]) -> list[str]:
    """The lines that do not balance, readably."""
    return [
        f"{check.name}: expected {check.expected}, found {check.found} {check.note}" for check in checks if not check.ok
    ]
