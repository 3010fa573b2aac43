from __future__ import annotations

import pytest

from streams.ops.audit import Check, Outcomes, check_count, check_delivery

RAW = {0: (0, 10), 1: (0, 5)}


def everything() -> Outcomes:
    """Fifteen posts in two partitions; two of them are dead-lettered."""
    return Outcomes(
        {0: set(range(10)), 1: set(range(5))},
        {0: set(range(10)) - {3}, 1: set(range(1, 5))},
        {0: {3}, 1: {0}},
    )


def test_posts_that_all_have_one_result() -> None:
    delivered, both = check_delivery(everything(), RAW)
    assert (delivered.expected, delivered.found, delivered.ok, delivered.note) == (15, 15, True, "")
    assert (both.expected, both.found, both.ok) == (0, 0, True)


def test_no_posts_at_all_are_fine() -> None:
    assert all(check.ok for check in check_delivery(Outcomes({0: set()}, {}, {}), {0: (0, 0)}))


def test_a_lost_post_is_named() -> None:
    outcomes = everything()
    outcomes.classified[0].discard(7)
    delivered, both = check_delivery(outcomes, RAW)
    assert (delivered.ok, delivered.expected, delivered.found) == (False, 15, 14)
    assert delivered.note == "1 without a result, such as 0@7"
    assert both.ok


def test_of_the_lost_posts_of_a_partition_five_are_named() -> None:
    outcomes = everything()
    del outcomes.classified[0], outcomes.dead[0]
    outcomes.classified[1].discard(4)
    delivered, _ = check_delivery(outcomes, RAW)
    assert not delivered.ok
    assert delivered.note == "11 without a result, such as 0@0, 0@1, 0@2, 0@3, 0@4"


def test_a_post_that_is_both_classified_and_dead_lettered() -> None:
    outcomes = everything()
    outcomes.dead[1].add(2)
    delivered, both = check_delivery(outcomes, RAW)
    assert delivered.ok
    assert (both.ok, both.found) == (False, 1)


@pytest.mark.parametrize("kind", ["classified", "dead"])
def test_a_result_of_a_post_that_was_never_produced(kind: str) -> None:
    outcomes = everything()
    getattr(outcomes, kind)[1].add(77)
    delivered, both = check_delivery(outcomes, RAW)
    assert (delivered.ok, delivered.found) == (False, 16)
    assert "never produced" in delivered.note
    assert both.ok


def test_a_lost_post_is_found_beside_a_result_without_a_post() -> None:
    outcomes = everything()
    outcomes.classified[0].discard(7)
    outcomes.classified[0].add(77)
    delivered, _ = check_delivery(outcomes, RAW)
    assert (delivered.expected, delivered.found, delivered.ok) == (15, 15, False)


def test_a_lost_post_is_found_beside_one_with_two_results() -> None:
    outcomes = everything()
    outcomes.classified[0].discard(7)
    outcomes.dead[0].add(8)
    delivered, both = check_delivery(outcomes, RAW)
    assert (delivered.found, delivered.ok, both.ok) == (15, False, False)


def test_results_of_raw_posts_that_kafka_has_deleted_are_left_out() -> None:
    outcomes = everything()
    outcomes.produced[0] -= set(range(4))  # their classified posts and a dead letter are still there
    delivered, both = check_delivery(outcomes, {0: (4, 10), 1: (0, 5)})
    assert (delivered.expected, delivered.found, delivered.ok) == (11, 11, True)
    assert both.ok


def test_two_results_of_a_deleted_raw_post_are_left_out() -> None:
    outcomes = everything()
    outcomes.produced[0] -= {0, 1}
    outcomes.dead[0].add(1)
    assert all(check.ok for check in check_delivery(outcomes, {0: (2, 10), 1: (0, 5)}))


def test_a_lost_post_that_kafka_still_holds_is_found() -> None:
    outcomes = everything()
    outcomes.produced[0] -= set(range(4))
    outcomes.classified[0].discard(4)
    delivered, _ = check_delivery(outcomes, {0: (4, 10), 1: (0, 5)})
    assert (delivered.ok, delivered.note) == (False, "1 without a result, such as 0@4")


@pytest.mark.parametrize(("found", "ok"), [(14, False), (15, True), (16, False)])
def test_a_count_is_compared_with_the_classified_posts(found: int, ok: bool) -> None:
    assert check_count("rows", 15, found, complete=True, note="n") == Check("rows", 15, found, ok, "n")


@pytest.mark.parametrize("found", [14, 15, 16])
def test_a_count_is_not_compared_if_kafka_has_deleted_classified_posts(found: int) -> None:
    check = check_count("rows", 15, found, complete=False)
    assert check.ok
    assert "not comparable" in check.note
