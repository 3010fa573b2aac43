"""The life of an assignment, with a fake client whose callbacks the tests call. Other tests use real brokers."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.errors import PositionError, RejectedError, UnavailableError
from connectors.kafka import consumer as module
from connectors.kafka import lag
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from tests.consumer_harness import Harness, harness_fixture  # noqa: F401 - a fixture
from tests.fake_consumer_client import FakeClient
from tests.helpers import message


def test_the_client_neither_commits_nor_resets_offsets(harness: Harness) -> None:
    options = harness.client.options
    assert options["enable.auto.commit"] is False
    assert options["auto.offset.reset"] == "error"
    assert (options["group.id"], harness.client.topics) == ("g", ["t"])


@pytest.mark.parametrize(("session_ms", "heartbeat_ms"), [(10_000, 3_000), (6_000, 2_000), (1_000, 333)])
def test_a_short_session_has_several_heartbeats(
    monkeypatch: pytest.MonkeyPatch, session_ms: int, heartbeat_ms: int
) -> None:
    monkeypatch.setattr(module, "Consumer", FakeClient)
    config = KafkaConfig("127.0.0.1:1", session_timeout_ms=session_ms)
    client: Any = module.PositionedConsumer(config, group="g", topic="t", positions=lambda _: {})._consumer
    assert client.options["heartbeat.interval.ms"] == heartbeat_ms


def test_an_assignment_starts_at_the_positions(harness: Harness) -> None:
    harness.assign(1, 0)
    assert harness.client.assigned == {0: 10, 1: 20}
    assert harness.lookups == [[0, 1]]
    assert harness.owned == [{0, 1}]


def test_batches_continue_each_other_over_missing_offsets(harness: Harness) -> None:
    harness.assign(0, 1)
    first = harness.poll((0, 10), (1, 23), (0, 12))  # transaction markers and compacted records have the other offsets
    second = harness.poll((0, 17), (0, 18))
    assert first is not None
    assert second is not None
    assert (first.starts, first.ends()) == ({0: 10, 1: 20}, {0: 13, 1: 24})
    assert (second.starts, second.ends()) == ({0: 13}, {0: 19})
    assert {p: [offset_of(m) for m in ms] for p, ms in first.by_partition().items()} == {0: [10, 12], 1: [23]}
    assert harness.consumer.is_current(first)
    assert harness.consumer.is_current(second)


def test_an_empty_poll_is_no_batch(harness: Harness) -> None:
    harness.assign(0)
    assert harness.poll() is None
    assert harness.poll((0, 9), (1, 20)) is None  # one is below the position, one of a partition that is not assigned


def test_messages_that_were_taken_before_an_assignment_in_the_same_poll_are_dropped(harness: Harness) -> None:
    """A poll takes several times from the client, and the group's callbacks run meanwhile."""
    harness.assign(0)
    harness.starts[0] = 5
    harness.client.queue += [[message(b"x", offset=10)], lambda: harness.assign(0)]
    assert harness.consumer.poll(100, 0) is None
    batch = harness.poll((0, 5), (0, 6))
    assert batch is not None
    assert (batch.starts, batch.ends()) == ({0: 5}, {0: 7})


def test_a_poll_ends_when_it_has_many_bytes(monkeypatch: pytest.MonkeyPatch, harness: Harness) -> None:
    monkeypatch.setattr(module, "BATCH_MEMORY", 3_000)
    harness.assign(0)
    harness.client.queue += [[message(b"x" * 1_000, offset=offset)] for offset in range(10, 15)]
    batches = [harness.consumer.poll(100, 0) for _ in range(4)]
    assert [batch and batch.ends() for batch in batches] == [{0: 12}, {0: 14}, {0: 15}, None]


def test_a_rewind_makes_what_was_fetched_stale_at_once(harness: Harness) -> None:
    harness.assign(0)
    before = harness.poll((0, 10))
    assert before is not None
    harness.starts[0] = 5
    harness.consumer.rewind("test")
    assert not harness.consumer.is_current(before)
    after = harness.poll((0, 11), (0, 5))
    assert harness.client.assigned == {0: 5}
    assert after is not None
    assert (after.starts, [offset_of(m) for m in after.messages]) == ({0: 5}, [11])


def test_rewinds_for_the_same_reason_are_logged_once_a_minute(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    harness.assign(0)
    for _ in range(100):
        harness.consumer.rewind("Redis is full")
        harness.poll()
    harness.consumer.rewind("Redis is away")
    assert caplog.messages == ["consuming t from {0: 10}", "rewinding t: Redis is full", "rewinding t: Redis is away"]


def test_a_rewind_during_a_fetch_makes_its_batch_stale(harness: Harness) -> None:
    harness.assign(0)
    fetched = [message(b"x", partition=0, offset=10)]
    original = harness.client.consume
    harness.client.consume = lambda *_: (harness.consumer.rewind("from another thread"), fetched)[1]
    batch = harness.consumer.poll(1, 0)
    harness.client.consume = original
    assert batch is not None
    assert not harness.consumer.is_current(batch)
    harness.poll()
    assert len(harness.lookups) == 2


def test_a_lookup_without_an_answer_is_repeated_and_nothing_is_fetched(harness: Harness) -> None:
    harness.fails = [UnavailableError("away"), UnavailableError("still away")]
    harness.assign(0)
    assert harness.client.assigned == {}
    assert harness.owned == [{0}]
    harness.poll()
    assert harness.client.assigned == {}
    harness.poll()
    assert harness.client.assigned == {0: 10}
    assert len(harness.lookups) == 3


def test_waits_between_lookups_grow_and_start_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module, "LOOKUP_BACKOFF_S", (1.0, 4.0))
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    harness.fails = [UnavailableError("away")] * 4
    harness.assign(0)
    for waited, lookups in [(0.9, 1), (0.1, 2), (3.9, 2), (0.1, 3), (3.9, 3), (0.1, 4), (4.0, 5)]:
        clock[0] += waited
        harness.poll()
        assert len(harness.lookups) == lookups
    assert harness.client.assigned == {0: 10}


@pytest.mark.parametrize("moment", ["assign", "rewind"])
def test_a_contradiction_of_positions_ends_the_polling(harness: Harness, moment: str) -> None:
    if moment == "rewind":
        harness.assign(0)
        harness.consumer.rewind("test")
    harness.fails = [PositionError("ahead")]
    if moment == "assign":
        harness.client.queue.append(lambda: harness.assign(0))
    with pytest.raises(PositionError):
        harness.consumer.poll(1, 0)


def test_an_error_in_a_callback_is_raised_by_poll(harness: Harness) -> None:
    def fail() -> None:
        raise ValueError("a defect")

    harness.consumer._on_revoke = fail
    harness.assign(0)
    harness.client.queue.append(harness.revoke)
    with pytest.raises(ValueError, match="a defect"):
        harness.consumer.poll(1, 0)


def test_a_revocation_waits_commits_finished_batches_and_drops_the_assignment(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "COMMIT_INTERVAL_S", 1_000.0)
    harness.assign(0, 1)
    harness.poll()
    batch = harness.poll((0, 10), (1, 20))
    assert batch is not None
    # The batch in flight finishes while the revocation waits for it.
    harness.consumer._on_revoke = lambda: harness.consumer.done(batch)
    harness.revoke()
    assert harness.client.commits == [{0: 11, 1: 21}]
    assert not harness.consumer.is_current(batch)
    assert harness.owned == [{0, 1}, set()]
    assert harness.client.calls[-1] == "unassign"
    assert harness.poll((0, 11)) is None


def test_lost_partitions_are_neither_waited_for_nor_committed(harness: Harness) -> None:
    harness.assign(0)
    batch = harness.poll((0, 10))
    assert batch is not None
    harness.consumer.done(batch)
    harness.client.on_lost(harness.client, [])
    harness.poll()
    assert (harness.revocations, harness.client.commits) == (0, [])
    assert not harness.consumer.is_current(batch)
    assert harness.owned == [{0}, set()]


def test_a_rewind_without_partitions_does_nothing(harness: Harness) -> None:
    harness.assign(0)
    harness.client.on_lost(harness.client, [])
    harness.consumer.rewind("late")
    harness.poll()
    assert len(harness.lookups) == 1
    assert harness.client.assigned == {}


def test_the_end_of_a_finished_batch_is_committed(harness: Harness) -> None:
    harness.assign(0)
    for offset in (10, 11):
        batch = harness.poll((0, offset))
        assert batch is not None
        harness.consumer.done(batch)
    harness.poll()
    assert harness.client.commits == [{0: 11}, {0: 12}]


def test_a_stale_batch_that_is_done_is_not_committed(harness: Harness) -> None:
    harness.assign(0)
    batch = harness.poll((0, 10))
    assert batch is not None
    harness.consumer.rewind("test")
    harness.poll()
    harness.consumer.done(batch)
    harness.poll()
    assert harness.client.commits == []


def test_a_commit_that_fails_does_no_harm(harness: Harness) -> None:
    harness.assign(0)
    batch = harness.poll((0, 10))
    assert batch is not None
    harness.consumer.done(batch)
    harness.client.commit_error = KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
    assert harness.poll((0, 11)) is not None


@pytest.mark.parametrize("code", [KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE])
def test_a_position_that_retention_deleted_is_looked_up_again(harness: Harness, code: int) -> None:
    harness.assign(0)
    harness.starts[0] = 15
    harness.poll_messages(message(None, error=KafkaError(code)))
    harness.poll()
    assert harness.client.assigned == {0: 15}


@pytest.mark.parametrize(
    "code", [KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError.UNKNOWN_TOPIC_OR_PART]
)
def test_a_transient_error_does_not_end_the_polling(harness: Harness, code: int) -> None:
    harness.assign(0)
    batch = harness.poll_messages(message(None, error=KafkaError(code)), message(b"x", offset=10))
    assert batch is not None
    assert len(harness.lookups) == 1


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED])
def test_a_refusal_ends_the_polling(harness: Harness, code: int) -> None:
    harness.assign(0)
    with pytest.raises(RejectedError, match="consuming t"):
        harness.poll_messages(message(None, error=KafkaError(code)))


def test_an_error_of_the_client_is_translated(harness: Harness) -> None:
    harness.client.queue.append(KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)))
    with pytest.raises(UnavailableError, match="consuming t"):
        harness.consumer.poll(1, 0)


def test_pause_and_resume_apply_to_the_assigned_partitions(harness: Harness) -> None:
    harness.assign(0)
    harness.client.calls.clear()
    harness.consumer.pause()
    harness.consumer.resume()
    harness.consumer.close()
    assert harness.client.calls == ["pause", "resume", "close"]


def test_a_pause_outlasts_a_rewind_and_a_rebalance(harness: Harness) -> None:
    harness.assign(0)
    harness.consumer.pause()
    harness.consumer.rewind("test")
    harness.poll()
    assert (harness.client.assigned, harness.client.paused) == ({0: 10}, {0})
    harness.revoke()
    harness.assign(0, 1)
    assert (harness.client.assigned, harness.client.paused) == ({0: 10, 1: 20}, {0, 1})
    harness.consumer.resume()
    assert harness.client.paused == set()


def test_a_message_that_was_not_consumed_has_no_partition_or_offset() -> None:
    for look, missing in ((partition_of, "partition"), (offset_of, "offset")):
        with pytest.raises(ValueError, match=missing):
            look(message(b"x", **{missing: None}))
