from __future__ import annotations

import threading

from streams.windows.own import OwnResult, OwnResults
from tests.helpers import classified, counted


def result(number: int, key: bytes | None = None) -> OwnResult:
    return OwnResult(b"%d" % number if key is None else key, b"value %d" % number, counted(classified(number)))


def test_a_result_is_taken_once() -> None:
    own = OwnResults()
    own.add([result(1), result(2)])
    assert own.take(b"1", b"value 1") == result(1).post
    assert own.take(b"1", b"value 1") is None
    assert len(own) == 1


def test_only_the_same_bytes_are_the_same_record() -> None:
    own = OwnResults()
    own.add([result(1)])
    assert own.take(None, b"value 1") is None
    assert own.take(b"2", b"value 1") is None
    assert own.take(b"1", b"value 1 ") is None


def test_the_later_of_two_with_one_key_is_kept() -> None:
    own = OwnResults()
    own.add([result(1, b"same"), result(2, b"same")])
    own.add([result(3, b"same")])
    assert len(own) == 1
    assert own.take(b"same", b"value 3") == result(3).post


def test_the_oldest_go_where_nobody_takes_them() -> None:
    own = OwnResults(limit_bytes=4_000)
    own.add(result(number) for number in range(2))
    own.add(result(number) for number in range(2, 5))
    assert [own.take(b"%d" % number, b"value %d" % number) is not None for number in range(5)] == [False] * 2 + [
        True
    ] * 3
    # What was taken, or has made room for another, counts no more.
    own.add(result(number, b"same") for number in range(50))
    own.add(result(number) for number in range(2))
    assert len(own) == 3


def test_long_records_take_more_room() -> None:
    own = OwnResults(limit_bytes=4_000)
    own.add(OwnResult(b"%d" % number, b"x" * 1_500, result(number).post) for number in range(3))
    assert len(own) == 1
    own.add([OwnResult(b"huge", b"x" * 5_000, result(9).post)])
    assert len(own) == 0


def test_two_threads_may_use_it() -> None:
    own = OwnResults(limit_bytes=50 * 1_040)
    results = [result(number) for number in range(5_000)]
    taken = []

    def take() -> None:
        while len(taken) < 4_000:
            taken.extend(filter(None, (own.take(one.key, one.value) for one in results)))

    taker = threading.Thread(target=take)
    taker.start()
    while taker.is_alive():
        for start in range(0, len(results), 10):
            own.add(results[start : start + 10])
    assert len(own) <= 50
    assert {post.origin for post in taken} <= {one.post.origin for one in results}
