"""`BatchBuilder` joins polled batches while a stage is busy: in order, none too large, none of two epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import source
from connectors.kafka.batch import Batch, OwnRange
from connectors.kafka.source import BatchBuilder
from tests.helpers import message

BATCH_MAX = 8
WAIT_S = 0.5


def batch(first: int, count: int, epoch: int = 1) -> Batch:
    return Batch(epoch, [message(b"{}", offset=first + i) for i in range(count)], {0: first})


def offsets(found: Batch | None) -> list[int | None] | None:
    return None if found is None else [one.offset() for one in found.messages]


@pytest.fixture
def builder() -> BatchBuilder:
    return BatchBuilder(BATCH_MAX, lambda: WAIT_S)


def test_an_idle_stage_waits_for_the_first_record_and_then_for_the_batch_wait(builder: BatchBuilder) -> None:
    assert builder.take_due(0, stage_waiting=True) is None
    assert builder.next_poll(0)[0] == 1
    builder.add(batch(4, 1), 10)
    assert builder.take_due(10, stage_waiting=True) is None
    assert builder.next_poll(10.2) == (BATCH_MAX - 1, pytest.approx(0.3))
    assert builder.next_poll(10.45) == (BATCH_MAX - 1, pytest.approx(0.05))
    builder.add(batch(5, 2), 10.3)
    # The wait counts from the first record. Later records do not extend it.
    assert offsets(builder.take_due(10.5, stage_waiting=True)) == [4, 5, 6]
    assert builder.take_due(11, stage_waiting=True) is None


def test_while_the_stage_is_busy_a_batch_is_filled(builder: BatchBuilder) -> None:
    builder.add(batch(0, 3), 0)
    assert builder.take_due(100, stage_waiting=False) is None
    count, wait_s = builder.next_poll(100)
    assert count == BATCH_MAX - 3
    assert 0 < wait_s < 0.25  # the poll is short, to notice soon that the stage waits
    builder.add(batch(3, 5), 100)
    found = builder.take_due(100, stage_waiting=False)
    assert offsets(found) == list(range(8))
    assert found is not None
    assert found.starts == {0: 0}


def test_the_wait_of_a_batch_may_change_meanwhile() -> None:
    wait_s = 5.0
    builder = BatchBuilder(BATCH_MAX, lambda: wait_s)
    builder.add(batch(0, 1), 0)
    assert builder.take_due(1, stage_waiting=True) is None
    # The poll ends long before the wait of the batch, because the thread notices a stop only between two polls.
    assert builder.next_poll(1) == (BATCH_MAX - 1, 0.5)
    wait_s = WAIT_S
    assert offsets(builder.take_due(1, stage_waiting=True)) == [0]


def test_batches_of_two_epochs_are_not_mixed(builder: BatchBuilder) -> None:
    builder.add(batch(4, 2), 0)
    builder.add(batch(0, 2, epoch=2), 0)
    assert [builder.take_due(9, stage_waiting=True), builder.take_due(9, stage_waiting=True)] == [
        batch_of(4, 5, 1),
        batch_of(0, 1, 2),
    ]


class batch_of:  # noqa: N801 - reads as a value
    """Equal to a batch from one offset to another, of an epoch."""

    def __init__(self, first: int, last: int, epoch: int) -> None:
        self.content = (list(range(first, last + 1)), epoch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and (offsets(other), other.epoch) == self.content

    __hash__ = None  # type: ignore[assignment]


def test_stale_batches_are_dropped(builder: BatchBuilder) -> None:
    builder.add(batch(0, 8), 0)
    builder.add(batch(8, 2), 0)
    builder.keep_only(lambda one: one.epoch == 2)
    assert builder.take_due(99, stage_waiting=True) is None
    builder.add(batch(0, 1, epoch=2), 99)
    assert offsets(builder.take_due(100, stage_waiting=True)) == [0]


@given(st.lists(st.tuples(st.integers(1, BATCH_MAX), st.booleans(), st.floats(0, 1)), max_size=60))
def test_every_message_is_handed_over_once_and_in_order(steps: list[tuple[int, bool, float]]) -> None:
    builder, now, sent = BatchBuilder(BATCH_MAX, lambda: WAIT_S), 0.0, 0
    handed: list[int | None] = []
    for available, stage_waiting, passed in steps:
        now += passed
        if (found := builder.take_due(now, stage_waiting=stage_waiting)) is not None:
            assert len(found.messages) <= BATCH_MAX
            assert found.starts[0] == found.messages[0].offset()
            handed += offsets(found) or []
        count, wait_s = builder.next_poll(now)
        assert count >= 1
        assert wait_s > 0
        count = min(count, available)
        builder.add(batch(sent, count), now)
        sent += count
    while (found := builder.take_due(now + WAIT_S, stage_waiting=True)) is not None:
        handed += offsets(found) or []
    assert handed == list(range(sent))


def test_a_batch_of_long_records_is_full_before_it_has_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_MEMORY", 3_000)
    builder = BatchBuilder(10**6, lambda: WAIT_S)
    for first in range(0, 20, 2):
        builder.add(Batch(1, [message(b"x" * 1_000, offset=first + i) for i in range(2)], {0: first}), 0)
    handed = []
    while (found := builder.take_due(0, stage_waiting=False)) is not None:
        handed.append(offsets(found))
    assert handed == [[first, first + 1] for first in range(0, 20, 2)]


def test_a_batch_of_wide_own_records_is_full_before_it_has_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_MEMORY", 3_000)
    builder = BatchBuilder(10**6, lambda: WAIT_S)
    builder.add(Batch(1, [], {0: 0}, [OwnRange(0, 0, ["post"] * 10, memory=2_900)]), 0)
    assert builder.take_due(0, stage_waiting=False) is None
    builder.add(Batch(1, [], {0: 10}, [OwnRange(0, 10, ["post"], memory=100)]), 0)
    assert builder.take_due(0, stage_waiting=False) is not None
