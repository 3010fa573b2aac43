"""Kafka takes a right away, or refuses a record: what it refuses for good is not tried again, and leaves nothing."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AclOperation

from connectors.errors import RejectedError
from connectors.kafka.producer import Outgoing
from connectors.kafka.transactional import TransactionalProducer
from streams.connections import kafka_config
from streams.gate.cpu_aware import OpenGate
from streams.ingest.keywords.follower import KeywordFollower
from streams.settings import Settings
from streams.sink.runner import open_sink
from tests.integration.rights_broker import RightsBroker
from tests.integration.support import TIMEOUT_S, configure, records, wait_for


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RightsBroker]:
    running = RightsBroker(tmp_path_factory.mktemp("rights"))
    yield running
    running.close()


@pytest.fixture
def env(env: dict[str, str], broker: RightsBroker) -> dict[str, str]:
    return {**env, "EMOSTREAM_KAFKA_BOOTSTRAP": broker.bootstrap}


@pytest.fixture
def producer(settings: Settings) -> Iterator[TransactionalProducer]:
    """A producer that has published a record."""
    opened = TransactionalProducer(kafka_config(settings), f"{settings.group_prefix}-windows-0")
    opened.publish([Outgoing(settings.topic_windows, b"{}", b"k")])
    yield opened
    opened.close()


def test_a_right_that_is_taken_away_is_refused_for_good(
    settings: Settings, broker: RightsBroker, producer: TransactionalProducer
) -> None:
    with (
        broker.denying(settings.topic_windows, AclOperation.WRITE),
        pytest.raises(RejectedError, match="TOPIC_AUTHORIZATION_FAILED"),
    ):
        producer.publish([Outgoing(settings.topic_windows, b"{}", b"k")])


def test_a_record_that_the_topic_does_not_take_is_refused_for_good(
    settings: Settings, producer: TransactionalProducer
) -> None:
    configure(settings, settings.topic_windows, "max.message.bytes", 1_000)
    small, large = b"{}", secrets.token_bytes(2_000)
    values = (small, large, small)
    taken = 0
    refusal = ""

    def is_refused() -> bool:
        nonlocal taken, refusal
        try:
            producer.publish([Outgoing(settings.topic_windows, value, b"k") for value in values])
        except RejectedError as exc:
            refusal = str(exc)
            return True
        taken += 1  # the new limit is not in force yet
        return False

    wait_for(is_refused, what="the record is taken")
    assert "MSG_SIZE_TOO_LARGE" in refusal
    assert len(records(settings, settings.topic_windows)) == 1 + taken * len(values)


def test_a_record_that_the_client_does_not_take_is_refused_for_good(
    settings: Settings, producer: TransactionalProducer
) -> None:
    with pytest.raises(RejectedError, match="MSG_SIZE_TOO_LARGE"):
        producer.publish([Outgoing(settings.topic_windows, b"x" * 5_000_000, b"k")])


def test_a_sink_that_cannot_be_opened_leaves_no_thread(settings: Settings, broker: RightsBroker) -> None:
    before = set(threading.enumerate())
    with (
        broker.denying(settings.topic_windows, AclOperation.DESCRIBE_CONFIGS),
        pytest.raises(RejectedError, match=f"reading the settings of topic {settings.topic_windows}"),
        open_sink(settings, gate=OpenGate()),
    ):
        pytest.fail("it is open")
    assert set(threading.enumerate()) <= before


def test_keywords_that_may_not_be_read_are_an_error(settings: Settings, broker: RightsBroker) -> None:
    follower = KeywordFollower(kafka_config(settings), settings.topic_keywords, group="keywords")
    with broker.denying(settings.topic_keywords, AclOperation.READ), follower:
        with pytest.raises(RejectedError, match="TOPIC_AUTHORIZATION_FAILED"):
            follower.wait_until_complete(TIMEOUT_S)
        with pytest.raises(RejectedError, match="TOPIC_AUTHORIZATION_FAILED"):
            follower.matcher()
