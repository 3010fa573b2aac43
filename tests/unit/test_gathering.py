"""How batches are gathered while a stage is busy: in order, none too large, none of two epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.batch import Batch
from connectors.kafka.source import Gathering
from tests.helpers import message

MOST = 8
WAIT_S = 0.5


def batch(first: int, count: int, epoch: int = 1) -> Batch:
    return Batch(epoch, [message(b"{}", offset=first + i) for i in range(count)], {0: first})


def offsets(found: Batch | None) -> list[int | None] | None:
    return None if found is None else [one.offset() for one in found.messages]


@pytest.fixture
def gathering() -> Gathering:
    return Gathering(MOST, lambda: WAIT_S)


def test_an_idle_stage_waits_for_the_first_message_and_then_for_no_more_than_was_said(gathering: Gathering) -> None:
    assert gathering.due(0, awaited=True) is None
    assert gathering.wants(0)[0] == 1
    gathering.add(batch(4, 1), 10)
    assert gathering.due(10, awaited=True) is None
    # It looks again every tenth of a second, so that it hears a stop.
    assert gathering.wants(10.2) == (MOST - 1, 0.25)
    assert gathering.wants(10.45) == (MOST - 1, pytest.approx(0.05))
    gathering.add(batch(5, 2), 10.3)
    # Counted from the first message: more of them do not put it off.
    assert offsets(gathering.due(10.5, awaited=True)) == [4, 5, 6]
    assert gathering.due(11, awaited=True) is None


def test_while_the_stage_is_busy_a_batch_grows_until_it_is_full(gathering: Gathering) -> None:
    gathering.add(batch(0, 3), 0)
    assert gathering.due(100, awaited=False) is None
    most, wait_s = gathering.wants(100)
    assert most == MOST - 3
    assert 0 < wait_s < 0.25  # it looks again soon
    gathering.add(batch(3, 5), 100)
    found = gathering.due(100, awaited=False)
    assert offsets(found) == list(range(8))
    assert found is not None
    assert found.starts == {0: 0}


def test_how_long_a_batch_waits_may_change_while_it_does() -> None:
    wait_s = 5.0
    gathering = Gathering(MOST, lambda: wait_s)
    gathering.add(batch(0, 1), 0)
    assert gathering.due(1, awaited=True) is None
    # It is looked at again long before the whole wait is over.
    assert gathering.wants(1) == (MOST - 1, 0.25)
    wait_s = WAIT_S
    assert offsets(gathering.due(1, awaited=True)) == [0]


def test_batches_of_two_epochs_are_not_mixed(gathering: Gathering) -> None:
    gathering.add(batch(4, 2), 0)
    gathering.add(batch(0, 2, epoch=2), 0)
    assert [gathering.due(9, awaited=True), gathering.due(9, awaited=True)] == [batch_of(4, 5, 1), batch_of(0, 1, 2)]


class batch_of:  # noqa: N801 - reads as a value
    """Equal to a batch from one offset to another, of an epoch."""

    def __init__(self, first: int, last: int, epoch: int) -> None:
        self.content = (list(range(first, last + 1)), epoch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and (offsets(other), other.epoch) == self.content

    __hash__ = None  # type: ignore[assignment]


def test_what_became_stale_is_dropped(gathering: Gathering) -> None:
    gathering.add(batch(0, 8), 0)
    gathering.add(batch(8, 2), 0)
    gathering.drop_unless(lambda one: one.epoch == 2)
    assert gathering.due(99, awaited=True) is None
    gathering.add(batch(0, 1, epoch=2), 99)
    assert offsets(gathering.due(100, awaited=True)) == [0]


@given(st.lists(st.tuples(st.integers(1, MOST), st.booleans(), st.floats(0, 1)), max_size=60))
def test_every_message_is_handed_over_once_and_in_order(steps: list[tuple[int, bool, float]]) -> None:
    gathering, now, sent = Gathering(MOST, lambda: WAIT_S), 0.0, 0
    handed: list[int | None] = []
    for available, awaited, passed in steps:
        now += passed
        if (found := gathering.due(now, awaited=awaited)) is not None:
            assert len(found.messages) <= MOST
            assert found.starts[0] == found.messages[0].offset()
            handed += offsets(found) or []
        most, wait_s = gathering.wants(now)
        assert most >= 1
        assert wait_s > 0
        count = min(most, available)
        gathering.add(batch(sent, count), now)
        sent += count
    while (found := gathering.due(now + WAIT_S, awaited=True)) is not None:
        handed += offsets(found) or []
    assert handed == list(range(sent))
