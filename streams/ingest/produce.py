"""Sends posts to the raw topic, each delivery confirmed, at a rate if one is asked for.

Posts are handed over one by one and confirmed in the background; what is unconfirmed is bounded, and so is the time
that Kafka may leave a post unconfirmed. The caller's thread is the only one that `on_sent` runs in.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.producer import ConfirmedProducer, Outgoing, WrittenOffsets
from streams.connections import kafka_config
from streams.errors import EmostreamError, TopologyError
from streams.records import Post
from streams.settings import Settings

MAX_UNCONFIRMED = 10_000
"""Posts on their way at most: some 5 MB, and a tenth of librdkafka's queue, so that handing over never blocks."""

PATIENCE_S = 30.0
"""Kafka may take this long to confirm a post: several times what the election of a new leader takes."""

_BURST_S = 1.0  # behind a rate by more than this, the lag is forgotten instead of being made up in a burst


class Submitter(Protocol):
    """What is needed of a producer; `ConfirmedProducer` has it."""

    def submit(self, records: Sequence[Outgoing], /) -> Future[WrittenOffsets]:
        """Queue records; the future is done when all are confirmed, or one has failed."""
        ...


def paced(
    posts: Iterable[Post],
    rate: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Post]:
    """The same posts, `rate` a second at most."""
    due = clock()
    for post in posts:
        now = clock()
        due = max(due, now - _BURST_S)
        if due > now:
            sleep(due - now)
        due += 1.0 / rate
        yield post


class PostSender:
    """Hands posts over and keeps count of the confirmations.

    Attributes:
        sent: posts that Kafka has confirmed.
        unconfirmed: posts handed over and not confirmed yet.
    """

    def __init__(
        self,
        producer: Submitter,
        topic: str,
        *,
        on_sent: Callable[[int], None] = lambda _count: None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = 0
        self._producer = producer
        self._topic = topic
        self._on_sent = on_sent
        self._patience_s = patience_s
        self._clock = clock
        self._pending: deque[tuple[Future[WrittenOffsets], float]] = deque()

    @property
    def unconfirmed(self) -> int:
        """Posts handed over and not confirmed yet."""
        return len(self._pending)

    def send(self, post: Post) -> None:
        """Hand a post over; waits while `MAX_UNCONFIRMED` are on their way.

        Raises:
            UnavailableError: if Kafka has left a post unconfirmed for `patience_s`.
            ConnectorError: if it refused one.
        """
        value = post.to_json()
        future = self._producer.submit([Outgoing(self._topic, value, post.id.encode())])
        self._pending.append((future, self._clock()))
        self._collect()
        if len(self._pending) >= MAX_UNCONFIRMED:
            self._await_first()
            self._collect()

    def finish(self) -> None:
        """Wait until every post is confirmed.

        Raises:
            UnavailableError: if Kafka has left a post unconfirmed for `patience_s`.
            ConnectorError: if it refused one.
        """
        while self._pending:
            self._await_first()
            self._collect()

    def _collect(self) -> None:
        """Count what is confirmed, in the order of handing over."""
        count = 0
        try:
            while self._pending and self._pending[0][0].done():
                self._pending[0][0].result()
                self._pending.popleft()
                count += 1
        finally:
            if count:
                self.sent += count
                self._on_sent(count)
        if self._pending and self._clock() - self._pending[0][1] > self._patience_s:
            raise self._unavailable()

    def _await_first(self) -> None:
        future, handed_over = self._pending[0]
        remaining = handed_over + self._patience_s - self._clock()
        try:
            future.result(timeout=max(0.0, remaining))
        except TimeoutError:
            raise self._unavailable() from None

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            f"Kafka has not confirmed {len(self._pending)} posts for {self._patience_s:g} s; "
            "whether they have arrived is not known"
        )


@contextmanager
def post_sender(settings: Settings, *, on_sent: Callable[[int], None] = lambda _count: None) -> Iterator[PostSender]:
    """A sender to the raw topic, closed at the end. The body calls `finish`.

    If the body fails for a reason that is not Kafka's, what was handed over is still delivered.

    Raises:
        TopologyError: if the topic does not exist.
        ConnectorError: if Kafka does not answer in `kafka_timeout_s`.
    """
    config = kafka_config(settings)
    partitions_of(KafkaAdmin(config), settings.topic_raw)
    patience_s = max(PATIENCE_S, settings.kafka_timeout_s)
    # The sender gives up first, and says how much is unconfirmed; the producer's own limit is the safety net.
    producer = ConfirmedProducer(config, client_id="emostream-produce", give_up_after_s=patience_s + 5.0)
    sender = PostSender(producer, settings.topic_raw, on_sent=on_sent, patience_s=patience_s)
    try:
        yield sender
    except EmostreamError:
        sender.finish()
        raise
    finally:
        # After `finish` nothing is left, and after an error of Kafka's there is no more to wait for.
        producer.close(timeout_s=0.1)


def send_posts(
    settings: Settings,
    posts: Iterable[Post],
    *,
    rate: float | None = None,
    on_sent: Callable[[int], None] = lambda _count: None,
) -> int:
    """Send posts to the raw topic and wait until every one is confirmed.

    Args:
        settings: where Kafka is, and the topic's name.
        posts: consumed lazily, in order; their key is their id.
        rate: posts a second at most; None for as fast as it goes.
        on_sent: called with the number of further confirmed posts, in this thread.

    Returns:
        The number of posts sent.

    Raises:
        TopologyError: if the topic does not exist.
        ConnectorError: if Kafka does not answer, or refuses. Every post that `on_sent` counted is in the log.
    """
    with post_sender(settings, on_sent=on_sent) as sender:
        for post in posts if rate is None else paced(posts, rate):
            sender.send(post)
        sender.finish()
        return sender.sent


def partitions_of(admin: KafkaAdmin, topic: str, hint: str = "run `emostream init`") -> int:
    """The number of a topic's partitions.

    Raises:
        TopologyError: if there is no such topic; `hint` says what to do.
        ConnectorError: if Kafka does not answer.
    """
    count = admin.partition_counts().get(topic)
    if count is None:
        raise TopologyError(f"topic {topic} does not exist; {hint}")
    return count
