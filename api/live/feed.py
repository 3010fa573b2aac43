"""Reads the windows and the classified posts from Kafka, for the live streams."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from confluent_kafka import Message

from api.live.hub import Receiver
from api.live.ring import Event, Kind
from connectors.errors import ConnectorError
from connectors.kafka.batch import UnreadableBatch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.follow import TopicFollower
from streams.records import ALL_KEYWORDS, ClassifiedPost, RecordError
from streams.records.base import parse
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

_SPACES = bytes.maketrans(b"\r\n", b"  ")


class KafkaFeed:
    """Follows one topic from its end, and turns its records into events. It may be started again after a stop.

    It begins again after every error, also after a defect: a thread that ends silently would leave its clients without
    news, and nobody would know.

    Attributes:
        problem: why nothing is read now; None if it is, or if nobody wants it.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        *,
        group: str,
        events_of: Callable[[Sequence[Message]], list[Event]],
        most: int | None = None,
        on_failure: Callable[[], None] = lambda: None,
        pause_s: float = PAUSE_S,
    ) -> None:
        """Prepare a feed; nothing is read yet.

        Args:
            kafka: how to reach Kafka.
            topic: the topic.
            group: a group name, which librdkafka requires and does not use here.
            events_of: returns the events of records.
            most: the most records of a take that are used, the newest ones; None for all. The others are skipped.
            on_failure: called when reading has failed.
            pause_s: seconds until Kafka is tried again after an error.
        """
        self.problem: str | None = None
        self._kafka = kafka
        self._topic = topic
        self._group = group
        self._events_of = events_of
        self._most = most
        self._on_failure = on_failure
        self._pause_s = pause_s
        self._stop = threading.Event()

    def start(self, into: Receiver) -> None:
        """Begin with new records, in a thread that hands them to `into`."""
        self._stop = stop = threading.Event()
        self.problem = None
        threading.Thread(target=self._run, args=(stop, into), name=f"live-{self._topic}", daemon=True).start()

    def stop(self) -> None:
        """Stop to read; the thread ends soon."""
        self._stop.set()
        self.problem = None

    def _run(self, stop: threading.Event, into: Receiver) -> None:
        failing = False
        while not stop.is_set():
            try:
                follower = TopicFollower(self._kafka, self._topic, group=self._group)
                try:
                    follower.begin(None, at_end=True)
                    if failing:
                        logger.info("the live streams follow %s again", self._topic)
                        failing, self.problem = False, None
                        into.lose()
                    self._follow(follower, stop, into)
                finally:
                    follower.close()
            except Exception as exc:  # noqa: BLE001 - it is logged and counted, and the readiness tells of it
                self._failed(stop, exc, again=failing)
                failing = True
                stop.wait(self._pause_s)

    def _failed(self, stop: threading.Event, exc: Exception, *, again: bool) -> None:
        reason = redact(str(exc)) if isinstance(exc, ConnectorError) else f"a defect: {exc!r}"
        if not stop.is_set():
            self.problem = f"the live streams wait for {self._topic}: {reason}"
        self._on_failure()
        if not isinstance(exc, ConnectorError):
            logger.error("reading %s for the live streams failed, and begins again", self._topic, exc_info=exc)
        elif not again:
            logger.warning("the live streams wait for %s: %s", self._topic, reason)

    def _follow(self, follower: TopicFollower, stop: threading.Event, into: Receiver) -> None:
        while not stop.is_set():
            messages = []
            for taken in follower.take(TAKE, TAKE_S):
                if isinstance(taken, UnreadableBatch):
                    into.lose()
                else:
                    messages.append(taken)
            if self._most is not None and len(messages) > self._most:
                into.skip(len(messages) - self._most)
                messages = messages[-self._most :]
            if events := self._events_of(messages):
                into.publish(events)


def window_events(messages: Sequence[Message]) -> list[Event]:
    """Returns an event for each window; the newest state of those that come several times.

    Of a window it is only checked that it is a JSON object: anything else would spoil the whole message to a client.
    """
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
    return [_in_one_line(event) for event in newest.values() if _is_object(event.data)]


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(parse(value), dict)
    except RecordError:
        return False


def _in_one_line(event: Event) -> Event:
    """Returns an event whose JSON has no line breaks, which would end a server-sent event. No string can have one."""
    return event._replace(data=event.data.translate(_SPACES))


def post_events(messages: Sequence[Message]) -> list[Event]:
    """Returns an event for each post. It belongs to its keywords and to `*`."""
    events = []
    for message in messages:
        value = message.value()
        try:
            post = ClassifiedPost.from_json(value)
        except RecordError:
            continue  # the aggregate stage writes a dead letter for it
        key = f"{message.partition()}-{message.offset()}"
        events.append(_in_one_line(Event(Kind.POST, key, (ALL_KEYWORDS, *post.keywords), bytes(value or b""))))
    return events
