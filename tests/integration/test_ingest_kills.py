"""`emostream ingest` with every local network, real Kafka and a worker: kills lose no post, and double none.

`make chaos` kills it 20 times, `make test` 8 times.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.ops.audit import audit
from streams.ops.demo.processes import Role
from streams.records import ALL_KEYWORDS, GapRecord, SourcePosition
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.forked_role import ForkedIngest
from tests.integration.kill_networks import ENVIRONMENT, NETWORKS, Jetstream, Network
from tests.integration.support import TIMEOUT_S, failures, post, records, wait_for
from tests.tiny_model import tiny_package

SESSION = {"EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": "1000"}
"""A source whose process was killed is taken over after this time."""

KILLS = 20 if "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ else 8
GAP = 4
"""Before the start after this kill, Jetstream forgets events."""

WORKER_KILLS = (2, 6)
"""The worker is killed after these kills, too."""

ORDINARY = 5
"""Posts of another producer after each kill; it sends each of them twice."""


@pytest.fixture
def env(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A model that costs next to nothing."""
    tiny_package(tmp_path / "model")
    return {**env, "EMOSTREAM_MODEL_URI": str(tmp_path / "model")}


class RawTopic:
    """The raw topic: what is in it, and what others than the sources write to it.

    Attributes:
        copies: the texts of posts of sources that were sent again, as a process does that was paused.
        ordinary: how many posts of another producer there are.
    """

    def __init__(self, settings: Settings, producer: ConfirmedProducer, chance: random.Random) -> None:
        self._settings = settings
        self._producer = producer
        self._chance = chance
        self.copies: list[str] = []
        self.ordinary = 0
        self._of_sources: list[tuple[bytes, bytes]] = []
        self._ends: dict[int, int] = {}

    def texts(self) -> list[str]:
        """Returns the texts of all posts but the ordinary ones."""
        return [_text(value) for _, value in self._read()]

    def _read(self) -> list[tuple[bytes, bytes]]:
        """Returns keys and values of all posts but the ordinary ones. Only those that are new are read."""
        topic, group = self._settings.topic_raw, scan_group(self._settings)
        scan = TopicScan(kafka_config(self._settings), topic, group=group, starts=self._ends)
        try:
            self._of_sources += [
                (found.key() or b"", found.value() or b"")
                for found in scan.messages()
                if not (found.key() or b"").startswith(b"ordinary")
            ]
            self._ends = {partition: end for partition, (_, end) in scan.bounds.items()}
        finally:
            scan.close()
        return self._of_sources

    def write(self, copies: int) -> None:
        """Write some ordinary posts, each twice, and send some posts of sources again."""
        sent = []
        for _ in range(ORDINARY):
            value = post(f"ordinary {self.ordinary}", id=f"ordinary-{self.ordinary}", keywords=[])
            sent += [(b"ordinary-%d" % self.ordinary, value)] * 2
            self.ordinary += 2
        there = self._read() if copies else []
        again = self._chance.sample(there, min(copies, len(there)))
        self.copies += [_text(value) for _, value in again]
        written = [Outgoing(self._settings.topic_raw, value, key) for key, value in sent + again]
        self._producer.submit(written).result(TIMEOUT_S)


def _text(value: bytes) -> str:
    return str(msgspec.json.decode(value)["text"])


def positions(settings: Settings) -> dict[str, SourcePosition]:
    """Returns the last position of each instance that has begun."""
    found = [SourcePosition.from_json(value) for _, _, value in records(settings, settings.topic_sources)]
    return {position.instance: position for position in found if position.cursor is not None}


async def counted(store: WindowStore) -> Counter[str]:
    """Returns the posts in the windows of all posts, by source."""
    found: Counter[str] = Counter()
    for window in await store.read(keyword=ALL_KEYWORDS, size=3_600):
        found.update(window.sources)
    return found


def make_last(network: Jetstream, settings: Settings) -> list[str]:
    """Make one more post, wait until the position is behind it, and return its text."""
    last = network.make(1)
    wait_for(lambda: positions(settings)["bluesky"].at == network.now, what="the position is not stored")
    return last


async def test_after_kills_every_post_is_in_the_raw_topic_and_counts_once(
    settings: Settings,
    env: dict[str, str],
    store: WindowStore,
    producer: ConfirmedProducer,
    start: Callable[..., Role],
    tmp_path: Path,
) -> None:
    """One process runs all sources, so that each kill is one of each."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown if the test fails
    chance = random.Random(seed)
    with ExitStack() as stack:
        networks = {kind: stack.enter_context(network(chance)) for kind, network in NETWORKS.items()}
        raw = RawTopic(settings, producer, chance)
        wanted, gap = await asyncio.to_thread(_kill_many_times, networks, raw, settings, env, start, tmp_path, chance)
    texts = Counter(raw.texts())
    assert texts - Counter(raw.copies) == Counter(text for made in wanted.values() for text in made)
    assert [(g.instance, g.number, g.since, g.until) for g in gaps(settings)] == [("bluesky", 1, *gap)]
    expected = Counter({kind: len(made) for kind, made in wanted.items()}) + Counter(test=raw.ordinary)
    deadline = time.monotonic() + TIMEOUT_S
    while (await counted(store)).total() < expected.total():
        assert time.monotonic() < deadline, "posts are not counted"
        await asyncio.sleep(0.2)
    assert await counted(store) == expected
    assert (await store.counters()).duplicates == len(raw.copies) > 0
    checks = [check for check in await audit(settings, store, lambda *_: None) if "Postgres" not in check.name]
    assert failures(checks) == []
    log = (tmp_path / "ingest.log").read_text("utf-8")
    assert [name for name, secret in ENVIRONMENT.items() if secret in log] == []


def gaps(settings: Settings) -> list[GapRecord]:
    return [GapRecord.from_json(value) for _, _, value in records(settings, settings.topic_gaps)]


def _kill_many_times(
    networks: Mapping[str, Network],
    raw: RawTopic,
    settings: Settings,
    env: dict[str, str],
    start: Callable[..., Role],
    folder: Path,
    chance: random.Random,
) -> tuple[dict[str, list[str]], tuple[datetime, datetime]]:
    """Returns the texts of the posts that must be in the raw topic, by kind of source, and the times of the gap."""
    config = folder / "sources.toml"
    tables = (
        f"[{kind}]\nallow_private = true\nbackoff_s = 0.05\n{network.options}" for kind, network in networks.items()
    )
    config.write_text("\n".join(tables))
    wanted: dict[str, list[str]] = {kind: [] for kind in networks}

    def make(count: int) -> None:
        for kind, network in networks.items():
            wanted[kind] += network.make(count)

    def ingest() -> ForkedIngest:
        return ForkedIngest(config, {**env, **ENVIRONMENT, **SESSION}, folder / "ingest.log")

    def wait_for_all(role: ForkedIngest) -> None:
        missing: dict[str, list[str]] = {}

        def there() -> bool:
            role.check()
            found = set(raw.texts())
            missing.update({kind: [text for text in made if text not in found] for kind, made in wanted.items()})
            return not any(missing.values())

        def some() -> str:
            return "; ".join(f"{kind}: {len(left)}, such as {left[:5]}" for kind, left in missing.items() if left)

        wait_for(there, what=lambda: f"posts are not in the raw topic: {some()}")

    def begun() -> bool:
        found = positions(settings)
        return found.keys() == networks.keys() and all(
            network.begun(str(found[kind].cursor)) for kind, network in networks.items()
        )

    worker, role = start("worker"), ingest()
    wait_for(begun, what="a position is not stored")
    jetstream = networks["bluesky"]
    assert isinstance(jetstream, Jetstream)
    # Its time is behind, so the first position, which is the time of the start, must be left before the first kill.
    wanted["bluesky"] += make_last(jetstream, settings)
    for kill in range(KILLS):
        chosen = chance.choice(list(networks.values()))
        enough = chosen.progress() + chance.randrange(0, 60)
        make(60)
        role.check()
        worker.check()
        wait_for(lambda enough=enough, chosen=chosen: chosen.progress() >= enough, what="nothing is read")  # type: ignore[misc]
        if kill == GAP:
            wait_for_all(role)
            jetstream.server.order = list
            wanted["bluesky"] += make_last(jetstream, settings)
            since = jetstream.now
        role.kill()
        if kill == GAP:
            until, kept = jetstream.lose()
            wanted["bluesky"] += kept
        make(15)
        if kill % 3 == 0:
            chosen.fail()
        if kill in WORKER_KILLS:
            worker.kill()
            worker = start("worker")
        raw.write(copies=10 if kill % 4 == 3 else 0)
        role = ingest()
    wait_for_all(role)
    assert role.stop() == 0
    worker.check()
    return wanted, (since, until)
