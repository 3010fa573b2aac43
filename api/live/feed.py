"""Reads the windows and the classified posts from Kafka, for the live streams."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from confluent_kafka import Message

from api.live.ring import Event, Kind
from connectors.errors import ConnectorError
from connectors.kafka.batch import UnreadableBatch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.follow import TopicFollower
from streams.records import ALL_KEYWORDS, ClassifiedPost, RecordError
from streams.redact import redact

logger = logging.getLogger(__name__)

TAKE = 2_000
"""The most records that are taken at once."""

TAKE_S = 0.2
"""Seconds to wait for records. New events come by so much later."""

PAUSE_S = 2.0
"""Seconds until Kafka is tried again after an error."""

MOST_POSTS = 200
"""The most posts of one take that become events. Nobody can read more, and decoding all of them would cost a core."""


class KafkaFeed:
    """Follows one topic from its end, and turns its records into events. It may be started again after a stop."""

    def __init__(
        self, kafka: KafkaConfig, topic: str, *, group: str, events_of: Callable[[Sequence[Message]], list[Event]]
    ) -> None:
        """Prepare a feed; nothing is read yet.

        Args:
            kafka: how to reach Kafka.
            topic: the topic.
            group: a group name, which librdkafka requires and does not use here.
            events_of: returns the events of records.
        """
        self._kafka = kafka
        self._topic = topic
        self._group = group
        self._events_of = events_of
        self._stop = threading.Event()

    def start(self, publish: Callable[[Sequence[Event]], None], lose: Callable[[], None]) -> None:
        """Begin with new records, in a thread that calls `publish` with events, and `lose` if some were missed."""
        self._stop = stop = threading.Event()
        threading.Thread(target=self._run, args=(stop, publish, lose), name=f"live-{self._topic}", daemon=True).start()

    def stop(self) -> None:
        """Stop to read; the thread ends soon."""
        self._stop.set()

    def _run(self, stop: threading.Event, publish: Callable[[Sequence[Event]], None], lose: Callable[[], None]) -> None:
        failing = False
        while not stop.is_set():
            try:
                follower = TopicFollower(self._kafka, self._topic, group=self._group)
                try:
                    follower.begin(None, at_end=True)
                    if failing:
                        logger.info("the live streams follow %s again", self._topic)
                        failing = False
                        lose()
                    self._follow(follower, stop, publish, lose)
                finally:
                    follower.close()
            except ConnectorError as exc:
                if not failing:
                    logger.warning("the live streams wait for %s: %s", self._topic, redact(str(exc)))
                failing = True
                stop.wait(PAUSE_S)

    def _follow(
        self,
        follower: TopicFollower,
        stop: threading.Event,
        publish: Callable[[Sequence[Event]], None],
        lose: Callable[[], None],
    ) -> None:
        while not stop.is_set():
            messages = []
            for taken in follower.take(TAKE, TAKE_S):
                if isinstance(taken, UnreadableBatch):
                    lose()
                else:
                    messages.append(taken)
            if events := self._events_of(messages):
                publish(events)


def window_events(messages: Sequence[Message]) -> list[Event]:
    """Returns an event for each window; the newest state of those that come several times. A window is not decoded."""
    newest: dict[str, Event] = {}
    for message in messages:
        key, value = message.key(), message.value()
        if key is None or value is None:  # a tombstone removes a window that has expired
            continue
        try:
            name = bytes(key).decode()
        except UnicodeDecodeError:
            continue  # it is no record of emostream
        keyword, *size_and_start = name.rsplit("|", 2)
        if len(size_and_start) == 2:
            newest.pop(name, None)
            newest[name] = Event(Kind.WINDOW, name, (keyword,), bytes(value))
    return list(newest.values())


def post_events(messages: Sequence[Message]) -> list[Event]:
    """Returns an event for each of the latest `MOST_POSTS` posts. Each belongs to its keywords and to `*`."""
    events = []
    for message in messages[-MOST_POSTS:]:
        value = message.value()
        try:
            post = ClassifiedPost.from_json(value)
        except RecordError:
            continue  # the aggregate stage writes a dead letter for it
        key = f"{message.partition()}-{message.offset()}"
        events.append(Event(Kind.POST, key, (ALL_KEYWORDS, *post.keywords), bytes(value or b"")))
    return events
