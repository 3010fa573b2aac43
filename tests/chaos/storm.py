"""Posts that flow, and what befalls the workers and Redis meanwhile."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from streams.ops.demo.processes import Role
from streams.records import rfc3339
from streams.settings import Settings
from tests.chaos.oracle import LABEL_OF
from tests.integration.valkey_node import ValkeyNode

WORDS = tuple(LABEL_OF)
KEYWORDS = [f"keyword-{number}" for number in range(40)]
WEIGHTS = [1 / (rank + 1) for rank in range(len(KEYWORDS))]
SOURCES = ("mastodon", "bluesky", "rss")
OLD = timedelta(days=5)
"""Too late for the windows of a minute, and for no others."""


class Feed(threading.Thread):
    """Produces posts at an even pace: some out of order, some days late, some unreadable.

    An endless one goes on at this pace until it is stopped.
    """

    def __init__(self, settings: Settings, posts: int, seconds: float, seed: int, *, endless: bool = False) -> None:
        super().__init__(name="feed")
        self.sent = 0
        self._settings = settings
        self._posts = posts
        self._seconds = seconds
        self._rng = random.Random(seed)
        self._numbers = itertools.count() if endless else range(posts)
        self._ended = threading.Event()

    def stop(self) -> None:
        """End it, whether or not all is sent."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self._settings.kafka_bootstrap, "enable.idempotence": True})
        begin = time.monotonic()
        for number in self._numbers:
            if self._ended.is_set():
                break
            due = begin + self._seconds * number / self._posts
            if (ahead := due - time.monotonic()) > 0.01:
                producer.poll(ahead)
            producer.produce(self._settings.topic_raw, self._value(number), str(number).encode())
            self.sent += 1
        assert producer.flush(60) == 0

    def _value(self, number: int) -> bytes:
        rng = self._rng
        if rng.random() < 0.005:
            return b'{"id": "cut off'
        now = datetime.now(UTC) - timedelta(seconds=rng.expovariate(0.5))
        post = {
            "id": str(number),
            "text": rng.choice(WORDS),
            "created_at": rfc3339(now - OLD if rng.random() < 0.01 else now),
            "source": rng.choice(SOURCES),
            "keywords": sorted(set(rng.choices(KEYWORDS, WEIGHTS, k=rng.randrange(3)))),
        }
        return json.dumps(post).encode()


_RUNS = "worker is running"


def _runs(worker: Role) -> bool:
    """Whether a worker has started."""
    return _RUNS in worker.log.read_text()


@dataclass
class Fleet:
    """The workers; `log` tells what befell them."""

    start: Callable[[], Role]
    rng: random.Random
    pause_s: tuple[float, float]
    workers: list[Role] = field(default_factory=list)
    paused: dict[int, float] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def join(self) -> None:
        self.workers.append(self.start())

    def act(self, most: int) -> None:
        """Let one thing happen to one of them."""
        self.wake()
        awake = [worker for worker in self.workers if worker.pid not in self.paused]
        if len(self.workers) < most and self.rng.random() < 0.4:
            self.log.append("a worker joins")
            self.join()
        elif len(awake) > 1:
            worker = self.rng.choice(awake)
            what = self.rng.choice(["kill", "kill", "stop", "leave", "pause"])
            if what == "pause" and not _runs(worker):
                what = "kill"  # paused, it would find when it wakes that Kafka has not answered in time, and end
            self.log.append(f"{what} {worker.name}")
            self._befall(worker, what)

    def _befall(self, worker: Role, what: str) -> None:
        if what == "pause":
            worker.pause()
            self.paused[worker.pid] = time.monotonic() + self.rng.uniform(*self.pause_s)
            return
        self.workers.remove(worker)
        if what == "kill":
            worker.kill()
        else:
            code, log = worker.stop(), worker.log.read_text()
            # One that is still starting dies of the signal.
            assert code == 0 or _RUNS not in log, f"{worker.name} ended with {code}: {log[-2_000:]}"
        if what != "leave":
            self.join()

    def wake(self, *, everyone: bool = False) -> None:
        """Resume those whose pause is over."""
        for worker in self.workers:
            if worker.pid in self.paused and (everyone or time.monotonic() > self.paused[worker.pid]):
                worker.resume()
                del self.paused[worker.pid]

    def check(self) -> None:
        """Raise if one has ended by itself."""
        for worker in self.workers:
            worker.check()


def rage(
    fleet: Fleet, redis: ValkeyNode, seconds: float, *, every_s: float, most: int, rebuild: Callable[[], object]
) -> None:
    """A storm: something happens every few seconds; Redis is rolled back once and emptied once.

    The windows are rebuilt twice: once so that the roll-back takes it back, and once to stay. On a slow machine the
    storm lasts until all of that has happened.
    """
    begin = time.monotonic()
    to_redis = [(0.2, "snapshot"), (0.25, "rebuild"), (0.45, "roll back"), (0.7, "empty"), (0.8, "rebuild")]
    while (passed := time.monotonic() - begin) < seconds or to_redis:
        if to_redis and passed > to_redis[0][0] * seconds:
            _, what = to_redis.pop(0)
            fleet.log.append(f"{what} Redis")
            {
                "snapshot": redis.snapshot,
                "rebuild": rebuild,
                "roll back": redis.roll_back,
                "empty": redis.client.flushall,
            }[what]()
        fleet.act(most)
        fleet.check()
        time.sleep(every_s * fleet.rng.uniform(0.5, 1.5))
    fleet.wake(everyone=True)
