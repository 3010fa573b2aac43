"""Produces posts while workers and Redis fail in random ways."""

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
"""How old late posts are: too late for windows of a minute, in time for all others."""


class Feed(threading.Thread):
    """Produces posts at a constant rate: some out of order, some days late, some unreadable.

    An endless feed goes on at this rate until it is stopped.
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
        """Stop before all posts are sent."""
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
        assert producer.flush(120) == 0

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


_STARTED = "worker is running"


def _has_started(worker: Role) -> bool:
    return _STARTED in worker.log.read_text()


@dataclass
class Fleet:
    """The running workers.

    Attributes:
        start: Starts a worker.
        rng: Source of the random choices.
        pause_s: Shortest and longest pause of a worker in seconds.
        workers: The running workers, paused ones included.
        paused: When the pause of a worker ends, by process id.
        log: What was done, in order.
    """

    start: Callable[[], Role]
    rng: random.Random
    pause_s: tuple[float, float]
    workers: list[Role] = field(default_factory=list)
    paused: dict[int, float] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def join(self) -> None:
        self.workers.append(self.start())

    def act(self, most: int) -> None:
        """Do one random thing: start a worker if there are fewer than `most`, or fail one that is not paused."""
        self.resume()
        awake = [worker for worker in self.workers if worker.pid not in self.paused]
        if len(self.workers) < most and self.rng.random() < 0.4:
            self.log.append("a worker joins")
            self.join()
        elif len(awake) > 1:
            worker = self.rng.choice(awake)
            what = self.rng.choice(["kill", "kill", "stop", "leave", "pause"])
            if what == "pause" and not _has_started(worker):
                what = "kill"  # a worker that is paused while it starts would end: Kafka has not answered in time
            self.log.append(f"{what} {worker.name}")
            self._fail(worker, what)

    def _fail(self, worker: Role, what: str) -> None:
        if what == "pause":
            worker.pause()
            self.paused[worker.pid] = time.monotonic() + self.rng.uniform(*self.pause_s)
            return
        self.workers.remove(worker)
        if what == "kill":
            worker.kill()
        else:
            code, log = worker.stop(), worker.log.read_text()
            # A worker that is still starting is ended by the signal.
            assert code == 0 or _STARTED not in log, f"{worker.name} ended with {code}: {log[-2_000:]}"
        if what != "leave":
            self.join()

    def resume(self, *, everyone: bool = False) -> None:
        """Resume the workers whose pause is over, or all."""
        for worker in self.workers:
            if worker.pid in self.paused and (everyone or time.monotonic() > self.paused[worker.pid]):
                worker.resume()
                del self.paused[worker.pid]

    def check(self) -> None:
        """Raise if a worker has ended by itself."""
        for worker in self.workers:
            worker.check()


def run_storm(
    fleet: Fleet, redis: ValkeyNode, seconds: float, *, every_s: float, most: int, rebuild: Callable[[], object]
) -> None:
    """Act on a worker every few seconds, roll Redis back once and empty it once.

    The windows are rebuilt twice. The roll-back undoes the first rebuild. On a slow machine the
    storm lasts until all of that has happened.

    Args:
        fleet: The workers.
        redis: The server of the window tables.
        seconds: How long the storm lasts.
        every_s: Mean time between two actions in seconds.
        most: Workers at most.
        rebuild: Starts a rebuild of the windows.
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
    fleet.resume(everyone=True)
