"""How the confirmed producer handles the answers of a broker, which the tests make up. No broker runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.kafka import producer as confirmed_module
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import ConfirmedProducer, Outgoing, _Delivery
from tests.helpers import message, wait_for

CONFIG = KafkaConfig("127.0.0.1:1")


def error(code: int, *, fatal: bool = False) -> KafkaError:
    return KafkaError(code, f"code {code}", fatal)


# Deliveries


def test_a_delivery_is_done_with_its_last_confirmation() -> None:
    delivery = _Delivery(2)
    delivery.confirm(None, message(b"", offset=9))
    assert not delivery.future.done()
    delivery.confirm(None, message(b"", offset=7))
    assert delivery.future.result(0) == {("posts.raw", 0): range(7, 10)}


def test_a_delivery_has_the_offsets_of_its_records_except_duplicates() -> None:
    delivery = _Delivery(4)
    delivery.confirm(None, message(b"", topic="a", partition=1, offset=3))
    delivery.confirm(None, message(b"", topic="b", offset=5))
    delivery.confirm(None, message(b"", topic="a", partition=1, offset=None))
    delivery.confirm(None, message(b"", topic="a", offset=0))
    assert delivery.future.result(0) == {("b", 0): range(5, 6), ("a", 0): range(1)}


def test_one_refusal_fails_the_delivery_at_once() -> None:
    delivery = _Delivery(3)
    delivery.confirm(None, message(b""))
    delivery.confirm(error(KafkaError.TOPIC_AUTHORIZATION_FAILED), message(b"", topic="posts.dead"))
    failure = delivery.future.exception(0)
    assert isinstance(failure, RejectedError)
    assert "writing to posts.dead" in str(failure)
    delivery.confirm(None, message(b""))
    delivery.fail(ConnectorError("later"))
    assert delivery.future.exception(0) is failure


def test_a_delivery_cannot_be_cancelled() -> None:
    delivery = _Delivery(1)
    assert not delivery.future.cancel(), "a cancelled future would raise an error in the thread of the client"
    delivery.confirm(None, message(b""))
    assert delivery.future.result(0) == {("posts.raw", 0): range(1)}


# The confirmed producer


class FakeProducer:
    """A client whose records the test confirms; its queue may be full."""

    def __init__(self, options: dict[str, Any], **_: Any) -> None:
        self.options = options
        self.sent: list[tuple[Any, ...]] = []
        self.callbacks: list[Any] = []
        self.refusals: list[Exception] = []
        self.fatal: Exception | None = None
        self.left = 0
        self.purged = False
        self.serving_at_flush: list[bool] = []
        self.polled = threading.Event()
        self.produced = threading.Semaphore(0)

    def __len__(self) -> int:
        return self.left

    def poll(self, timeout: float) -> int:
        self.polled.set()
        threading.Event().wait(0.001)
        if self.fatal is not None:
            self.fatal, fatal = None, self.fatal
            raise fatal
        return 0

    def produce(self, topic: str, value: bytes, key: bytes | None, *, partition: int, on_delivery: Any) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.sent.append((topic, value, key, partition))
        self.callbacks.append(on_delivery)
        self.produced.release()

    async def wait_produced(self) -> None:
        assert await asyncio.to_thread(self.produced.acquire, timeout=180)

    def flush(self, timeout: float) -> int:
        self.serving_at_flush.append(any(thread.name == "test-serving-deliveries" for thread in threading.enumerate()))
        return self.left

    def purge(self) -> None:
        self.purged = True


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConfirmedProducer]:
    monkeypatch.setattr(confirmed_module, "Producer", FakeProducer)
    monkeypatch.setattr(confirmed_module, "_POLL_S", 0.001)
    producer = ConfirmedProducer(CONFIG, client_id="test")
    yield producer
    producer.close()


def fake(producer: ConfirmedProducer) -> FakeProducer:
    return producer._producer  # type: ignore[return-value]


def test_the_client_never_gives_up_and_keeps_the_order(producer: ConfirmedProducer) -> None:
    options = fake(producer).options
    assert (options["acks"], options["message.timeout.ms"]) == ("all", 0)
    assert options["enable.idempotence"] is True
    assert options["enable.gapless.guarantee"] is True


def test_records_go_in_order_to_the_partition_they_name(producer: ConfirmedProducer) -> None:
    producer.submit([Outgoing("a", b"1", b"k", 3), Outgoing("b", b"2"), Outgoing("a", b"3", None, 0)])
    assert fake(producer).sent == [("a", b"1", b"k", 3), ("b", b"2", None, -1), ("a", b"3", None, 0)]


def test_submit_waits_for_a_full_queue(producer: ConfirmedProducer) -> None:
    fake(producer).refusals = [BufferError(), BufferError()]
    producer.submit([Outgoing("a", b"1")])
    assert len(fake(producer).sent) == 1


def test_a_record_that_is_refused_at_once(producer: ConfirmedProducer) -> None:
    fake(producer).refusals = [KafkaException(error(KafkaError.MSG_SIZE_TOO_LARGE))]
    with pytest.raises(RejectedError, match="writing to a"):
        producer.submit([Outgoing("a", b"1")])


async def test_deliver_returns_when_all_records_are_confirmed(producer: ConfirmedProducer) -> None:
    task = asyncio.ensure_future(producer.deliver([Outgoing("a", b"1"), Outgoing("a", b"2")]))
    await fake(producer).wait_produced()
    await fake(producer).wait_produced()
    fake(producer).callbacks[1](None, message(b""))
    await asyncio.sleep(0.01)
    assert not task.done()
    fake(producer).callbacks[0](None, message(b""))
    async with asyncio.timeout(60):
        await task


async def test_a_record_in_the_middle_that_is_not_written_fails_the_delivery(producer: ConfirmedProducer) -> None:
    records = [Outgoing("a", value, None, 0) for value in (b"first", b"between", b"last")]
    task = asyncio.ensure_future(producer.deliver(records))
    for _ in records:
        await fake(producer).wait_produced()
    first, between, last = fake(producer).callbacks
    first(None, message(b"", offset=4))
    last(None, message(b"", offset=5))
    between(error(KafkaError.UNKNOWN_TOPIC_OR_PART), message(b"", topic="a"))
    with pytest.raises(ConnectorError, match="writing to a"):
        async with asyncio.timeout(60):
            await task


def test_nothing_is_written_after_a_record_that_failed(
    monkeypatch: pytest.MonkeyPatch, producer: ConfirmedProducer
) -> None:
    """It would be the last record of its partition, and the stage would resume after it."""

    def produce(topic: str, value: bytes, key: bytes | None, *, partition: int, on_delivery: Any) -> None:
        sent.append(value)
        if value == b"2":
            on_delivery(error(KafkaError.UNKNOWN_TOPIC_OR_PART), message(b"", topic=topic))

    sent: list[bytes] = []
    monkeypatch.setattr(fake(producer), "produce", produce)
    delivery = producer.submit([Outgoing("a", value, None, 0) for value in (b"1", b"2", b"3")])
    assert isinstance(delivery.exception(0), ConnectorError)
    assert sent == [b"1", b"2"]


def test_a_fatal_error_fails_waiting_and_later_deliveries(producer: ConfirmedProducer) -> None:
    waiting = [producer.submit([Outgoing("a", b"1", None, 0)]), producer.submit([Outgoing("a", b"2", None, 1)])]
    fake(producer).fatal = KafkaException(error(KafkaError._GAPLESS_GUARANTEE, fatal=True))
    for delivery in waiting:
        failure = delivery.exception(5)
        assert isinstance(failure, RejectedError)
        assert "_GAPLESS_GUARANTEE" in str(failure)
    # The errors of the client after a fatal error do not have its reason.
    fake(producer).refusals = [KafkaException(error(KafkaError._FATAL))]
    with pytest.raises(RejectedError, match="_GAPLESS_GUARANTEE"):
        producer.submit([Outgoing("a", b"3", None, 0)])


def test_a_fatal_error_between_two_deliveries(producer: ConfirmedProducer) -> None:
    fake(producer).fatal = KafkaException(error(KafkaError._GAPLESS_GUARANTEE, fatal=True))
    wait_for(lambda: fake(producer).fatal is None)
    assert isinstance(producer.submit([Outgoing("a", b"1", None, 0)]).exception(5), RejectedError)


def test_a_fatal_error_while_closing(monkeypatch: pytest.MonkeyPatch, producer: ConfirmedProducer) -> None:
    def flush(timeout: float) -> int:
        raise KafkaException(error(KafkaError._GAPLESS_GUARANTEE, fatal=True))

    delivery = producer.submit([Outgoing("a", b"1", None, 0)])
    fake(producer).left = 1
    monkeypatch.setattr(fake(producer), "flush", flush)
    assert producer.close(0) == 1
    assert isinstance(delivery.exception(0), RejectedError)


async def test_deliver_raises_the_error_of_the_broker(producer: ConfirmedProducer) -> None:
    task = asyncio.ensure_future(producer.deliver([Outgoing("a", b"1")]))
    await fake(producer).wait_produced()
    fake(producer).callbacks[0](error(KafkaError._PURGE_INFLIGHT), message(b"", topic="a"))
    with pytest.raises(UnavailableError):
        async with asyncio.timeout(60):
            await task


async def test_a_delivery_of_no_records_is_done(producer: ConfirmedProducer) -> None:
    await producer.deliver([])
    assert producer.submit([]).done()


def test_a_thread_serves_the_deliveries_until_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmed_module, "Producer", FakeProducer)
    producer = ConfirmedProducer(CONFIG, client_id="test-serving")
    assert fake(producer).polled.wait(60)
    fake(producer).left = 2
    assert producer.close(0) == 2
    assert fake(producer).purged
    assert fake(producer).serving_at_flush == [False, False], "two threads serve the delivery reports"
    with pytest.raises(ConnectorError, match="closed"):
        producer.submit([Outgoing("a", b"1")])
