"""The pauses between restarts of a process, and the end of a crash loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.process.restarts import RestartPolicy, Restarts

POLICY = RestartPolicy(first_s=1, longest_s=5, most=4, steady_s=60)


def test_each_pause_is_twice_as_long_until_the_process_is_in_a_crash_loop() -> None:
    restarts = Restarts(POLICY)
    assert [restarts.next_s(0) for _ in range(6)] == [1, 2, 4, 5, None, None]
    assert restarts.total == 4


def test_a_process_that_was_ready_for_long_begins_a_new_row() -> None:
    restarts = Restarts(POLICY)
    assert [restarts.next_s(ready_s) for ready_s in (0, 59.9, 60, 0)] == [1, 2, 1, 2]


@given(st.lists(st.sampled_from([0.0, 59.0, 60.0, 1e6])), st.integers(0, 200))
def test_a_pause_is_bounded_and_every_restart_is_counted(ready: list[float], most: int) -> None:
    policy = RestartPolicy(first_s=0.5, longest_s=5, most=most, steady_s=60)
    restarts = Restarts(policy)
    pauses = [restarts.next_s(ready_s) for ready_s in ready]
    assert all(pause is None or 0.5 <= pause <= 5 for pause in pauses)
    assert restarts.total == sum(pause is not None for pause in pauses)
    in_a_row = 0
    for ready_s, pause in zip(ready, pauses, strict=True):
        in_a_row = 0 if ready_s >= 60 else in_a_row
        assert (pause is None) == (in_a_row >= most)
        in_a_row += pause is not None
