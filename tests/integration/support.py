"""Helpers that integration tests share: making raw posts, waiting for a condition, and waiting for the audit."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.scan import TopicScan
from connectors.local.ports import choose
from streams.connections import kafka_config, scan_group
from streams.ops.audit import Check, audit
from streams.ops.demo.processes import Role
from streams.records import rfc3339
from streams.settings import Settings
from streams.windows.store import WindowStore

TIMEOUT_S = 300.0 if "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ else 180.0
"""Seconds after which a wait fails. It is far above what any wait takes, so that a slow machine fails no test."""

KEYWORDS = ("coffee", "rain", "train", "exam")
TEXTS = (
    "i feel so happy and thankful today",
    "i am so sad and lonely tonight",
    "i am furious about this awful service",
    "i feel scared and anxious about tomorrow",
    "i love you all so much my dear friends",
    "wow i am amazed and surprised by this",
)


def produce(
    settings: Settings, values: Sequence[bytes | None], *, partition: int = -1, keys: Sequence[bytes] | None = None
) -> None:
    """Write values to the raw topic. The key is the value's index unless `keys` are given."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 5})
    for index, value in enumerate(values):
        while True:
            try:
                key = str(index).encode() if keys is None else keys[index]
                producer.produce(settings.topic_raw, value, key, partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0


def post(text: str, **fields: Any) -> bytes:
    """Returns the JSON of a raw post. `fields` override the defaults."""
    values = {
        "id": secrets.token_hex(8),
        "text": text,
        "created_at": rfc3339(datetime.now(UTC)),
        "source": "test",
        "keywords": ["coffee"],
        **fields,
    }
    return json.dumps(values).encode()


def wait_for(condition: Callable[[], bool], *, what: str | Callable[[], str], seconds: float = TIMEOUT_S) -> None:
    """Wait until a condition holds. If it does not in time, fail with `what`, which says what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.1)


async def balanced(settings: Settings, store: WindowStore, roles: Sequence[Role]) -> list[Check]:
    """Wait until every check of the audit is ok, while all roles run. Returns the last checks, even if some failed."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        for role in roles:
            role.check()
        try:
            checks = await audit(settings, store, lambda *_: None)
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
        else:
            if all(check.ok for check in checks) or time.monotonic() > deadline:
                return checks
        await asyncio.sleep(0.5)


def failures(checks: Sequence[Check]) -> list[str]:
    """Returns a line for each check that is not ok."""
    return [
        f"{check.name}: expected {check.expected}, found {check.found} {check.note}" for check in checks if not check.ok
    ]


def records(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes]]:
    """Returns the partition, key and value of every record of a topic."""
    scan = TopicScan(kafka_config(settings), topic, group=scan_group(settings))
    try:
        return [(m.partition() or 0, m.key(), m.value() or b"") for m in scan.messages()]
    finally:
        scan.close()


def offsets(settings: Settings, topic: str) -> int:
    """Returns the number of offsets of a topic, over all partitions."""
    scan = TopicScan(kafka_config(settings), topic, group=scan_group(settings))
    try:
        return scan.total()
    finally:
        scan.close()


def configure(settings: Settings, topic: str, name: str, value: object) -> None:
    """Change a setting of a topic in Kafka, and wait until the broker has it. Its logs may follow a moment later."""
    entry = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(120)
    reader = KafkaAdmin(kafka_config(settings))
    wait_for(lambda: reader.topic_config(topic)[name] == str(value), what=f"{topic} keeps its {name}")


def good_posts(count: int, **fields: object) -> list[bytes]:
    """Returns posts spread over the keywords, and over the last five minutes."""
    now = datetime.now(UTC)
    return [
        post(
            TEXTS[i % len(TEXTS)],
            keywords=[KEYWORDS[i % len(KEYWORDS)]],
            created_at=rfc3339(now - timedelta(seconds=300 * (1 - i / count))),
            **fields,
        )
        for i in range(count)
    ]


def ledger_breaks(topic: str) -> str:
    """Returns a query that counts where a range of the ledger does not begin at the end of the one before.

    If the count is 0, every offset is in exactly one range.
    """
    return f"""
        SELECT count(*) FROM (
            SELECT first_offset,
                lag(next_offset, 1, 0::bigint) OVER (PARTITION BY partition ORDER BY first_offset) AS previous_end
            FROM sink_ledger WHERE topic = '{topic}'
        ) AS ranges WHERE first_offset <> previous_end
    """


def free_port() -> int:
    """Returns a port that no outgoing connection is given before the server of the test listens on it."""
    return choose(["test"], {}, set())["test"]


def metric_lines(port: int, name: str) -> list[str]:
    """Returns the lines of the worker's metrics that begin with `name`; none if it does not answer yet."""
    try:
        # Without `verify=False`, loading certificates takes longer than the request.
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5, trust_env=False, verify=False)
        answer.raise_for_status()
    except httpx.HTTPError:
        return []
    return [line for line in answer.text.splitlines() if line.startswith(name)]


def counter(port: int, name: str) -> float:
    """Returns the sum of a worker's counter over its labels; 0 if it has no value yet."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in metric_lines(port, name))
