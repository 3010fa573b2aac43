"""The feed of the live streams when reading fails: it tells, and begins again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from queue import Queue

import pytest
from confluent_kafka import Message

from api.live import feed as feed_module
from api.live.feed import KafkaFeed, post_events, window_events
from api.live.ring import Event, Kind
from connectors.errors import UnavailableError
from connectors.kafka.config import KafkaConfig
from tests.helpers import classified

TIMEOUT_S = 60


class FakeFollower:
    """Brings three messages at a time."""

    def __init__(self, *_arguments: object, **_options: object) -> None: ...

    def begin(self, *_arguments: object, **_options: object) -> None: ...

    def take(self, *_arguments: object) -> Iterator[object]:
        return iter(["a", "b", "c"])

    def close(self) -> None: ...


class FakeReceiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: Queue[tuple[str, object]] = Queue()

    def publish(self, events: Sequence[Event]) -> None:
        self.told.put(("events", [event.key for event in events]))

    def lose(self) -> None:
        self.told.put(("lost", None))

    def skip(self, posts: int) -> None:
        self.told.put(("skipped", posts))


class FakeMessage:
    """A record of Kafka."""

    def __init__(self, value: bytes, key: bytes = b"coffee|60|now") -> None:
        self.value = lambda: value
        self.key = lambda: key
        self.partition = lambda: 3
        self.offset = lambda: 7


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b'"a"', b"[]", b'{"a":1}]', b'{"a":"\n"}', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000, b"{}\n\nid: 9"],
)
def test_a_window_that_would_spoil_the_message_of_others_is_left_out(value: bytes) -> None:
    taken = [FakeMessage(value), FakeMessage(b'{"a": 1}', b"tea|60|now")]
    assert [event.data for event in window_events(taken)] == [b'{"a": 1}']


def test_line_breaks_between_the_parts_of_a_record_become_spaces() -> None:
    indented = b'{\r\n "a": "b\\n"\n}'
    [event] = window_events([FakeMessage(indented)])
    assert event.data == b'{   "a": "b\\n" }'
    post = classified(1).to_json().replace(b",", b",\n")
    [event] = post_events([FakeMessage(post)])
    assert event.data == post.replace(b"\n", b" ")


@pytest.mark.parametrize("error", [UnavailableError("Kafka did not answer"), RuntimeError("a defect of a release")])
def test_a_feed_that_fails_says_so_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(feed_module, "TopicFollower", FakeFollower)
    failures: Queue[str | None] = Queue()
    goes_on: Queue[None] = Queue()
    calls = 0

    def events_of(messages: Sequence[Message]) -> list[Event]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        goes_on.get(timeout=TIMEOUT_S)
        return [Event(Kind.POST, str(message), ("*",), b"{}") for message in messages]

    feed = KafkaFeed(
        KafkaConfig(bootstrap="127.0.0.1:1"),
        "a.topic",
        group="test",
        events_of=events_of,
        most=2,
        on_failure=lambda: failures.put(None),
        pause_s=0.2,
    )
    receiver = FakeReceiver()
    with caplog.at_level(logging.INFO):
        feed.start(receiver)
        assert receiver.told.get(timeout=TIMEOUT_S) == ("skipped", 1)
        failures.get(timeout=TIMEOUT_S)
        # It begins again, tells that something may be missing, and reads.
        assert receiver.told.get(timeout=TIMEOUT_S) == ("lost", None)
        assert feed.problem is None
        assert receiver.told.get(timeout=TIMEOUT_S) == ("skipped", 1)
        goes_on.put(None)
        assert receiver.told.get(timeout=TIMEOUT_S) == ("events", ["b", "c"])
    feed.stop()
    goes_on.put(None)
    assert str(error) in caplog.text
    assert "the live streams follow a.topic again" in caplog.text
    assert failures.empty()


def test_the_readiness_learns_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "TopicFollower", FakeFollower)
    problems: Queue[str | None] = Queue()

    def events_of(_messages: Sequence[Message]) -> list[Event]:
        raise RuntimeError("a defect")

    feed = KafkaFeed(
        KafkaConfig(bootstrap="127.0.0.1:1"), "a.topic", group="test", events_of=events_of, pause_s=TIMEOUT_S
    )
    monkeypatch.setattr(feed, "_on_failure", lambda: problems.put(feed.problem))
    feed.start(FakeReceiver())
    problems.get(timeout=TIMEOUT_S)
    # `problem` is set before the failure is counted.
    assert feed.problem is not None
    assert "a defect" in feed.problem
    feed.stop()
    assert feed.problem is None
