"""How the transactional producer handles the answers of a broker, which the tests make up. No broker runs."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.kafka import transactional as transactional_module
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import Outgoing
from connectors.kafka.transactional import FencedError, TransactionalProducer
from tests.helpers import message

CONFIG = KafkaConfig("127.0.0.1:1")


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    return KafkaError(code, f"code {code}", fatal, retriable, abort)


class FakeTransactions:
    """Records every call, and raises the errors that `plan` has for it. `failures` has those of single records."""

    plan: dict[str, list[Exception]]
    failures: list[KafkaError]
    calls: list[str]
    options: dict[str, Any]

    def __init__(self, options: dict[str, Any], **_: Any) -> None:
        type(self).options = options

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.plan.get(name):
            raise self.plan[name].pop(0)

    def init_transactions(self, timeout: float) -> None:
        self._call("init")

    def begin_transaction(self) -> None:
        self._call("begin")

    def produce(self, topic: str, value: bytes, key: bytes | None) -> None:
        self._call("produce")

    def commit_transaction(self, timeout: float) -> None:
        for failure in self.failures:
            self.options["on_delivery"](failure, message(b""))
        self._call("commit")

    def abort_transaction(self, timeout: float) -> None:
        self._call("abort")
        self.options["on_delivery"](error(KafkaError._PURGE_QUEUE), message(b""))

    def poll(self, timeout: float) -> int:
        return 0

    def purge(self) -> None:
        self._call("purge")

    def flush(self, timeout: float) -> int:
        self._call("flush")
        return 0


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> type[FakeTransactions]:
    FakeTransactions.plan, FakeTransactions.failures, FakeTransactions.calls = {}, [], []
    monkeypatch.setattr(transactional_module, "Producer", FakeTransactions)
    return FakeTransactions


RECORDS = [Outgoing("emotions.windows", b"1", b"k"), Outgoing("emotions.windows", b"2", b"k")]


def test_records_are_published_in_one_transaction(transactions: type[FakeTransactions]) -> None:
    producer = TransactionalProducer(CONFIG, "e-windows-0")
    producer.publish(RECORDS)
    producer.close()
    assert transactions.calls == ["init", "begin", "produce", "produce", "commit", "purge", "flush"]
    assert transactions.options["transactional.id"] == "e-windows-0"


def test_a_full_queue_is_emptied_within_the_transaction(transactions: type[FakeTransactions]) -> None:
    transactions.plan = {"produce": [BufferError()]}
    TransactionalProducer(CONFIG, "x").publish(RECORDS)
    assert transactions.calls == ["init", "begin", "produce", "produce", "produce", "commit"]


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
@pytest.mark.parametrize("step", ["init", "commit", "abort"])
def test_a_newer_producer_with_the_same_id_fences(transactions: type[FakeTransactions], step: str, code: int) -> None:
    fenced = KafkaException(error(code, fatal=True))
    transactions.plan = {step: [fenced]}
    if step == "abort":
        transactions.plan["commit"] = [KafkaException(error(KafkaError._TIMED_OUT, abort=True))]
    with pytest.raises(FencedError, match="x was taken over"):
        TransactionalProducer(CONFIG, "x").publish(RECORDS)


@pytest.mark.parametrize("step", ["produce", "commit"])
def test_a_failed_transaction_is_aborted_and_can_be_repeated(transactions: type[FakeTransactions], step: str) -> None:
    transactions.plan = {step: [KafkaException(error(KafkaError._TIMED_OUT, retriable=True, abort=True))]}
    producer = TransactionalProducer(CONFIG, "x")
    with pytest.raises(UnavailableError, match="aborted"):
        producer.publish(RECORDS)
    assert transactions.calls[-1] == "abort"
    producer.publish(RECORDS)
    assert transactions.calls[-1] == "commit"


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.MSG_SIZE_TOO_LARGE])
@pytest.mark.parametrize("step", ["produce", "commit"])
def test_a_refusal_for_good_is_raised_after_the_abort(
    transactions: type[FakeTransactions], step: str, code: int
) -> None:
    transactions.plan = {step: [KafkaException(error(code, abort=True))]}
    with pytest.raises(RejectedError, match=f"publishing as x: code {code} "):
        TransactionalProducer(CONFIG, "x").publish(RECORDS)
    assert transactions.calls[-1] == "abort"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, RejectedError),
        (KafkaError.NOT_ENOUGH_REPLICAS, UnavailableError),
    ],
)
def test_the_first_record_that_failed_tells_why_a_commit_failed(
    transactions: type[FakeTransactions], code: int, expected: type[ConnectorError]
) -> None:
    """The commit says only that some records were not delivered."""
    transactions.plan = {"commit": [KafkaException(error(KafkaError._INCONSISTENT, abort=True))]}
    # The client drops records after a failure, and before it tells of one.
    transactions.failures = [error(one) for one in (KafkaError._PURGE_QUEUE, code, KafkaError.UNKNOWN)]
    producer = TransactionalProducer(CONFIG, "x")
    with pytest.raises(expected, match=f"code {code}"):
        producer.publish(RECORDS)
    # The next transaction is not blamed for it.
    transactions.plan = {"commit": [KafkaException(error(KafkaError._TIMED_OUT, retriable=True, abort=True))]}
    transactions.failures = [error(KafkaError._PURGE_INFLIGHT)]
    with pytest.raises(UnavailableError, match=f"code {KafkaError._TIMED_OUT}"):
        producer.publish(RECORDS)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError._INCONSISTENT,
    ],
)
def test_an_error_that_passes_with_the_producer_can_be_repeated_with_a_new_one(
    transactions: type[FakeTransactions], code: int
) -> None:
    transactions.plan = {"commit": [KafkaException(error(code, abort=True))]}
    with pytest.raises(UnavailableError, match="was aborted"):
        TransactionalProducer(CONFIG, "x").publish(RECORDS)


def test_a_refusal_for_good_is_raised_even_if_the_abort_fails(transactions: type[FakeTransactions]) -> None:
    """A broker whose transaction has not begun, because it refused the first record, has none to abort."""
    transactions.plan = {
        "commit": [KafkaException(error(KafkaError.TOPIC_AUTHORIZATION_FAILED, abort=True))],
        "abort": [KafkaException(error(KafkaError.INVALID_TXN_STATE, fatal=True))],
    }
    with pytest.raises(RejectedError, match=f"code {KafkaError.TOPIC_AUTHORIZATION_FAILED}"):
        TransactionalProducer(CONFIG, "x").publish(RECORDS)


def test_a_producer_that_has_failed_for_good_can_be_closed(transactions: type[FakeTransactions]) -> None:
    transactions.plan = {"flush": [KafkaException(error(KafkaError.INVALID_TXN_STATE, fatal=True))]}
    TransactionalProducer(CONFIG, "x").close()
    assert transactions.calls[-1] == "flush"


def test_a_fatal_error_is_not_followed_by_an_abort(transactions: type[FakeTransactions]) -> None:
    transactions.plan = {"commit": [KafkaException(error(KafkaError.CLUSTER_AUTHORIZATION_FAILED, fatal=True))]}
    with pytest.raises(RejectedError):
        TransactionalProducer(CONFIG, "x").publish(RECORDS)
    assert "abort" not in transactions.calls


def test_no_broker_when_the_id_is_taken_over(transactions: type[FakeTransactions]) -> None:
    transactions.plan = {"init": [KafkaException(error(KafkaError._TIMED_OUT, retriable=True))]}
    with pytest.raises(UnavailableError, match="taking over as x"):
        TransactionalProducer(CONFIG, "x")


def test_a_commit_without_an_answer_leaves_the_transaction_open(transactions: type[FakeTransactions]) -> None:
    """The commit may have succeeded, and then an abort fails. The error is neither a fence nor fatal."""
    transactions.plan = {
        "commit": [KafkaException(error(KafkaError._TIMED_OUT, retriable=True))],
        "abort": [KafkaException(error(KafkaError._STATE))],
    }
    producer = TransactionalProducer(CONFIG, "e-windows-0")
    with pytest.raises(UnavailableError, match="left open"):
        producer.publish([Outgoing("w", b"1", b"k")])
