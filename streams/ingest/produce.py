"""Sends posts to the raw topic and waits until Kafka has confirmed each one; at a limited rate if that is asked for.

The sender submits posts to the Kafka client one by one, and the client confirms them in the background. The number of
unconfirmed posts is bounded, and so is the time that Kafka may take to confirm a post. `on_sent` is called in the
caller's thread.
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
from streams.topology import RAW_COMPRESSION
from streams.wording import counted

MAX_UNCONFIRMED = 10_000
"""The most unconfirmed posts: about 5 MB, and a tenth of librdkafka's queue, so that `submit` does not block."""

CONFIRM_TIMEOUT_S = 30.0
"""Seconds that Kafka may take to confirm a post: several times what the election of a new leader takes."""

_BURST_S = 1.0
"""Seconds of a delay that `paced` makes up for in a burst. It does not make up for the rest of a longer delay."""


class Submitter(Protocol):
    """The method of a producer that `PostSender` needs; `ConfirmedProducer` has it."""

    def submit(self, records: Sequence[Outgoing], /) -> Future[WrittenOffsets]:
        """Queue records. The future is done when all records are confirmed, or when one has failed."""
        ...


def paced(
    posts: Iterable[Post],
    rate: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Post]:
    """Yield the posts, at most `rate` of them a second."""
    due = clock()
    for post in posts:
        now = clock()
        due = max(due, now - _BURST_S)
        if due > now:
            sleep(due - now)
        due += 1.0 / rate
        yield post


class PostSender:
    """Submits posts to the raw topic and counts the confirmations.

    Attributes:
        sent: posts that Kafka has confirmed.
    """

    def __init__(
        self,
        producer: Submitter,
        topic: str,
        *,
        on_sent: Callable[[int], None] = lambda _count: None,
        timeout_s: float = CONFIRM_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = 0
        self._producer = producer
        self._topic = topic
        self._on_sent = on_sent
        self._timeout_s = timeout_s
        self._clock = clock
        self._pending: deque[tuple[Future[WrittenOffsets], float]] = deque()

    @property
    def unconfirmed(self) -> int:
        """Posts that were submitted and are not confirmed yet."""
        return len(self._pending)

    def send(self, post: Post) -> None:
        """Submit a post. Waits if `MAX_UNCONFIRMED` posts are unconfirmed.

        Raises:
            UnavailableError: Kafka has not confirmed a post for `timeout_s` seconds.
            ConnectorError: Kafka has rejected a post.
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
            UnavailableError: Kafka has not confirmed a post for `timeout_s` seconds.
            ConnectorError: Kafka has rejected a post.
        """
        while self._pending:
            self._await_first()
            self._collect()

    def _collect(self) -> None:
        """Count the confirmed posts, up to the first one that is not confirmed yet."""
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
        if self._pending and self._clock() - self._pending[0][1] > self._timeout_s:
            raise self._unavailable()

    def _await_first(self) -> None:
        future, submitted_at = self._pending[0]
        remaining = submitted_at + self._timeout_s - self._clock()
        try:
            future.result(timeout=max(0.0, remaining))
        except TimeoutError:
            raise self._unavailable() from None

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            f"Kafka has not confirmed {counted(len(self._pending), 'post')} for {self._timeout_s:g} s; "
            "some may have arrived nevertheless"
        )


@contextmanager
def post_sender(settings: Settings, *, on_sent: Callable[[int], None] = lambda _count: None) -> Iterator[PostSender]:
    """Yield a sender to the raw topic, and close it at the end. The caller calls `finish` before that.

    If the body raises an EmostreamError, such as an unreadable input, the posts that were submitted are still confirmed
    before the error is raised.

    Raises:
        TopologyError: The topic does not exist.
        ConnectorError: Kafka does not answer within the setting `kafka_timeout_s`.
    """
    config = kafka_config(settings)
    partitions_of(KafkaAdmin(config), settings.topic_raw)
    timeout_s = max(CONFIRM_TIMEOUT_S, settings.kafka_timeout_s)
    # The sender gives up before the producer does, because its error says how many posts are unconfirmed.
    producer = ConfirmedProducer(
        config, client_id="emostream-produce", give_up_after_s=timeout_s + 5.0, compression=RAW_COMPRESSION
    )
    sender = PostSender(producer, settings.topic_raw, on_sent=on_sent, timeout_s=timeout_s)
    try:
        yield sender
    except EmostreamError:
        sender.finish()
        raise
    finally:
        # No post is unconfirmed after `finish`, and after a ConnectorError waiting for one would not help.
        producer.close(timeout_s=0.1)


def send_posts(
    settings: Settings,
    posts: Iterable[Post],
    *,
    rate: float | None = None,
    on_sent: Callable[[int], None] = lambda _count: None,
) -> int:
    """Send posts to the raw topic and wait until Kafka has confirmed each of them.

    Args:
        settings: where Kafka is, and the name of the topic.
        posts: read lazily and sent in order. The key of a record is the id of its post.
        rate: the most posts a second; None for no limit.
        on_sent: called with the number of newly confirmed posts, in the caller's thread.

    Returns:
        The number of posts that were sent.

    Raises:
        TopologyError: The topic does not exist.
        ConnectorError: Kafka does not answer, or rejects a post. Every post that `on_sent` has counted is in the topic.
    """
    with post_sender(settings, on_sent=on_sent) as sender:
        for post in posts if rate is None else paced(posts, rate):
            sender.send(post)
        sender.finish()
        return sender.sent


def partitions_of(admin: KafkaAdmin, topic: str, hint: str = "run `emostream init`") -> int:
    """Returns the number of a topic's partitions.

    Raises:
        TopologyError: The topic does not exist. The message ends with `hint`, which says what to do.
        ConnectorError: Kafka does not answer.
    """
    count = admin.partition_counts().get(topic)
    if count is None:
        raise TopologyError(f"topic {topic} does not exist; {hint}")
    return count
