from __future__ import annotations

import pytest

from streams.ops.audit import Check, Outcomes, check_count, check_delivery

RAW = {0: (0, 10), 1: (0, 5)}


def ledger(produced: dict[int, set[int]], classified: dict[int, set[int]], dead: dict[int, set[int]]) -> Outcomes:
    return Outcomes(produced=produced, classified=classified, dead=dead)


def everything() -> Outcomes:
    """Fifteen posts in two partitions, two of them dead letters."""
    return ledger(
        {0: set(range(10)), 1: set(range(5))},
        {0: set(range(10)) - {3}, 1: set(range(1, 5))},
        {0: {3}, 1: {0}},
    )


def test_books_that_balance() -> None:
    ended, both = check_delivery(everything(), RAW)
    assert (ended.expected, ended.found, ended.ok, ended.note) == (15, 15, True, "")
    assert (both.expected, both.found, both.ok) == (0, 0, True)


def test_nothing_at_all_balances() -> None:
    assert all(check.ok for check in check_delivery(ledger({0: set()}, {}, {}), {0: (0, 0)}))


def test_a_lost_post_is_named() -> None:
    books = everything()
    books.classified[0].discard(7)
    ended, both = check_delivery(books, RAW)
    assert (ended.ok, ended.expected, ended.found) == (False, 15, 14)
    assert ended.note == "1 neither, e.g. 0@7"
    assert both.ok


def test_a_partition_without_any_result_is_lost_whole_and_five_are_named() -> None:
    books = everything()
    del books.classified[0], books.dead[0]
    books.classified[1].discard(4)
    ended, _ = check_delivery(books, RAW)
    assert not ended.ok
    assert ended.note == "11 neither, e.g. 0@0, 0@1, 0@2, 0@3, 0@4"


def test_a_post_that_ended_twice() -> None:
    books = everything()
    books.dead[1].add(2)
    ended, both = check_delivery(books, RAW)
    assert ended.ok
    assert (both.ok, both.found) == (False, 1)


@pytest.mark.parametrize("kind", ["classified", "dead"])
def test_a_result_of_a_post_that_was_never_produced(kind: str) -> None:
    books = everything()
    getattr(books, kind)[1].add(77)
    ended, both = check_delivery(books, RAW)
    assert (ended.ok, ended.found) == (False, 16)
    assert "never produced" in ended.note
    assert both.ok


def test_one_lost_does_not_hide_behind_one_too_many() -> None:
    books = everything()
    books.classified[0].discard(7)
    books.classified[0].add(77)
    ended, _ = check_delivery(books, RAW)
    assert (ended.expected, ended.found, ended.ok) == (15, 15, False)


def test_one_lost_does_not_hide_behind_one_that_ended_twice() -> None:
    books = everything()
    books.classified[0].discard(7)
    books.dead[0].add(8)
    ended, both = check_delivery(books, RAW)
    assert (ended.found, ended.ok, both.ok) == (15, False, False)


def test_results_of_raw_posts_that_retention_took_are_left_out() -> None:
    books = everything()
    books.produced[0] -= set(range(4))  # their classified posts and a dead letter are still there
    ended, both = check_delivery(books, {0: (4, 10), 1: (0, 5)})
    assert (ended.expected, ended.found, ended.ok) == (11, 11, True)
    assert both.ok


def test_an_expired_post_that_ended_twice_is_no_longer_held_against_anyone() -> None:
    books = everything()
    books.produced[0] -= {0, 1}
    books.dead[0].add(1)
    assert all(check.ok for check in check_delivery(books, {0: (2, 10), 1: (0, 5)}))


def test_a_post_lost_after_the_cut_is_still_lost() -> None:
    books = everything()
    books.produced[0] -= set(range(4))
    books.classified[0].discard(4)
    ended, _ = check_delivery(books, {0: (4, 10), 1: (0, 5)})
    assert (ended.ok, ended.note) == (False, "1 neither, e.g. 0@4")


@pytest.mark.parametrize(("found", "ok"), [(14, False), (15, True), (16, False)])
def test_counts_are_equal_or_not(found: int, ok: bool) -> None:
    assert check_count("rows", 15, found, complete=True, note="n") == Check("rows", 15, found, ok, "n")


@pytest.mark.parametrize("found", [14, 15, 16])
def test_counts_cannot_be_compared_where_kafka_has_forgotten(found: int) -> None:
    check = check_count("rows", 15, found, complete=False)
    assert check.ok
    assert "not comparable" in check.note
