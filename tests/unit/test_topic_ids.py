"""The ids of topics, as a broker tells them that learns of new topics late. No broker runs."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka import admin as module
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.config import KafkaConfig


class FakeAdminClient:
    """A client whose broker knows more topics with each answer. The last answer repeats."""

    answers: ClassVar[list[dict[str, str | KafkaError]]] = []

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    def describe_topics(self, wanted: TopicCollection, *, request_timeout: float) -> dict[str, Future[Any]]:
        known = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return {name: self._answer(known.get(name)) for name in wanted.topic_names}

    def _answer(self, found: str | KafkaError | None) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(found, str):
            future.set_result(SimpleNamespace(topic_id=found))
        else:
            future.set_exception(KafkaException(found or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        return future


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str | KafkaError]]:
    monkeypatch.setattr(module, "AdminClient", FakeAdminClient)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(FakeAdminClient, "answers", [])
    return FakeAdminClient.answers


def test_a_topic_that_does_not_exist_has_no_id(answers: list[dict[str, str | KafkaError]]) -> None:
    answers += [{"a": "1"}]
    assert KafkaAdmin(KafkaConfig("127.0.0.1:1")).topic_ids(["a", "b"]) == {"a": "1"}


def test_a_broker_may_learn_of_new_topics_late(answers: list[dict[str, str | KafkaError]]) -> None:
    answers += [{}, {"a": "1"}, {"a": "1", "b": "2"}]
    assert KafkaAdmin(KafkaConfig("127.0.0.1:1")).require_topic_ids(["a", "b"]) == {"a": "1", "b": "2"}


def test_a_topic_that_stays_unknown_is_an_error(answers: list[dict[str, str | KafkaError]]) -> None:
    answers += [{"a": "1"}]
    with pytest.raises(UnavailableError, match="Kafka does not know b; was it deleted"):
        KafkaAdmin(KafkaConfig("127.0.0.1:1", timeout_s=0.01)).require_topic_ids(["a", "b"])


def test_a_refusal_is_not_repeated(answers: list[dict[str, str | KafkaError]]) -> None:
    answers += [{"a": KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)}, {"a": "1"}]
    with pytest.raises(RejectedError, match="reading the id of topic a"):
        KafkaAdmin(KafkaConfig("127.0.0.1:1")).require_topic_ids(["a"])
