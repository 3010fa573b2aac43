"""Sends posts for the soak, with the current time, so that some always wait in Kafka."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC

from confluent_kafka import KafkaException, Producer

from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.posts import KEYWORDS, SOURCES
from streams.ops.bench.posts import keyword_weights
from streams.records import Keywords, Post, Timestamp
from streams.settings import Settings

SEED = 7


class Feed:
    """Sends posts with the current time in a thread, so that about `backlog` of them wait in Kafka. A context manager.

    Attributes:
        sent: Posts sent so far.
        classified: Posts classified so far. The caller sets it; the feed sends new posts for those that it counts.
    """

    def __init__(self, settings: Settings, texts: Sequence[str], backlog: int) -> None:
        self._settings, self._texts, self._backlog = settings, texts, backlog
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 20, "log_level": 2})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._failure: Exception | None = None
        self.sent = 0
        self.classified = 0

    def check(self) -> None:
        """Check that the feed still sends.

        Raises:
            BenchmarkError: Kafka refused a post, and the feed has stopped.
        """
        if self._failure is not None:
            raise BenchmarkError(
                f"the feed has stopped, because Kafka refused a post: {self._failure}"
            ) from self._failure

    def _run(self) -> None:
        try:
            posts = self._posts()
            while not self._stop.wait(0.05):
                for _ in range(self._backlog - (self.sent - self.classified)):
                    post = next(posts)
                    self._producer.produce(
                        self._settings.topic_raw,
                        post.to_json(),
                        post.id.encode(),
                        partition=self.sent % self._settings.partitions,
                    )
                    self.sent += 1
                self._producer.poll(0)
        except (KafkaException, BufferError) as exc:
            self._failure = exc

    def _posts(self) -> Iterator[Post]:
        rng = random.Random(SEED)
        names = [f"keyword-{number}" for number in range(KEYWORDS)]
        weights = keyword_weights(KEYWORDS)
        while True:
            yield Post(
                id=f"soak-{self.sent}",
                text=self._texts[self.sent % len(self._texts)],
                created_at=Timestamp.now(UTC),
                source=rng.choice(SOURCES),
                keywords=Keywords.of(rng.choices(names, weights, k=rng.randrange(3))),
            )

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(10)
