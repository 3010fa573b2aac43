"""`emostream ingest` reads a topic, a folder, a prefix in S3 and a webhook: kills lose and double no post.

One process runs all four sources, so that each kill is one of each. `make chaos` kills it 20 times, `make test` 8.
"""

from __future__ import annotations

import json
import os
import queue
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from confluent_kafka import Producer

from connectors.kafka.admin import KafkaAdmin, TopicSpec
from connectors.s3.client import S3, connect
from streams.connections import kafka_config, s3_config
from streams.records import GapRecord, SourcePosition
from streams.settings import Settings
from tests.forked_role import ForkedIngest
from tests.integration.support import free_port, offsets, records, wait_for

SESSION = {"EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": "2000"}
KILLS = 20 if "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ else 8
POSTS = 40
"""Posts that each source gets between two kills."""


class Sender:
    """Sends posts to a webhook, some in a request, each request until it is answered with 200."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self._left: queue.Queue[list[str] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, texts: list[str]) -> None:
        for start in range(0, len(texts), 7):
            self._left.put(texts[start : start + 7])

    def close(self) -> None:
        self._left.put(None)
        self._thread.join(60)

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=5) as client:
            while (texts := self._left.get()) is not None:
                while not self._is_accepted(client, texts):
                    threading.Event().wait(0.02)

    def _is_accepted(self, client: httpx.Client, texts: list[str]) -> bool:
        try:
            return client.post(self._url, json=[{"text": text} for text in texts]).status_code == 200
        except httpx.TransportError:
            return False


class Inputs:
    """What the four sources read."""

    def __init__(self, settings: Settings, folder: Path, s3: S3, sender: Sender) -> None:
        self.topic = f"{settings.group_prefix}-foreign"
        self.bucket = f"{settings.group_prefix}-posts"
        self.folder = folder
        self._s3 = s3
        self._sender = sender
        self._count = 0
        KafkaAdmin(kafka_config(settings)).create([TopicSpec(self.topic, 3)])
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
        s3.ensure_bucket(self.bucket)

    def add(self, chance: random.Random) -> list[str]:
        """Give new posts to each source, and return their texts."""
        self._count += 1
        names = ("kafka", "file", "object", "hook")
        kafka, rows, lines, posts = (
            [f"{name} {self._count} {number}" for number in range(chance.randrange(1, POSTS))] for name in names
        )
        for text in kafka:
            self._producer.produce(self.topic, json.dumps({"body": text}).encode())
        assert self._producer.flush(120) == 0
        # Names in any order.
        name = f"{chance.randrange(10**6):06}-{self._count}.jsonl"
        unfinished = self.folder / f"{name}.tmp"
        unfinished.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
        unfinished.rename(self.folder / name)
        self._s3.put(
            self.bucket, f"posts/{name}", "".join(json.dumps({"text": text}) + "\n" for text in lines).encode()
        )
        self._sender.send(posts)
        return [*kafka, *rows, *lines, *posts]


@contextmanager
def sending(port: int) -> Iterator[Sender]:
    sender = Sender(port)
    try:
        yield sender
    finally:
        sender.close()


def begun(settings: Settings) -> set[str]:
    positions = [SourcePosition.from_json(value) for _, _, value in records(settings, settings.topic_sources)]
    return {position.instance for position in positions if position.cursor is not None}


def raw_texts(settings: Settings) -> list[str]:
    return [json.loads(value)["text"] for _, _, value in records(settings, settings.topic_raw)]


def progress(settings: Settings, enough: int, wanted: list[str]) -> bool:
    """Whether the raw topic has so many records, or all that there are."""
    return offsets(settings, settings.topic_raw) >= enough or set(wanted) <= set(raw_texts(settings))


def test_kills_lose_no_post_and_double_none(settings: Settings, env: dict[str, str], tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown if the test fails
    chance = random.Random(seed)
    config, port = tmp_path / "sources.toml", free_port()
    (tmp_path / "inbox").mkdir()

    def ingest() -> ForkedIngest:
        return ForkedIngest(config, {**env, **SESSION}, tmp_path / "ingest.log")

    wanted: list[str] = []
    with connect(s3_config(settings)) as s3, sending(port) as sender:
        inputs = Inputs(settings, tmp_path / "inbox", s3, sender)
        tables = {
            "kafka": f"topic = '{inputs.topic}'\nmap.text = 'body'\nbegin = 'earliest'",
            "files": f"path = '{inputs.folder}'\nbegin = 'earliest'\nsettle_s = 0\ninterval_s = 0.05",
            "s3": f"uri = 's3://{inputs.bucket}/posts/'\nbegin = 'earliest'\ninterval_s = 0.05",
            "webhook": f"listen = '127.0.0.1:{port}'\nanswer_s = 3",
        }
        config.write_text("\n".join(f"[{kind}]\nbackoff_s = 0.05\n{options}" for kind, options in tables.items()))
        role = ingest()
        wait_for(lambda: begun(settings) == set(tables), what="a position is not stored")
        for _ in range(KILLS):
            wanted += inputs.add(chance)
            enough = offsets(settings, settings.topic_raw) + chance.randrange(1, POSTS)
            wait_for(lambda enough=enough, wanted=wanted: progress(settings, enough, wanted), what="nothing is read")  # type: ignore[misc]
            role.check()
            role.kill()
            wanted += inputs.add(chance)
            role = ingest()
        wait_for(lambda: set(wanted) <= set(raw_texts(settings)), what="a post is not in the raw topic")
        assert role.stop() == 0
    counts = Counter(raw_texts(settings))
    assert {text: count for text, count in counts.items() if count > 1} == {}
    assert set(counts) == set(wanted)
    assert [GapRecord.from_json(value) for _, _, value in records(settings, settings.topic_gaps)] == []
