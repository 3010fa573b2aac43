from __future__ import annotations

import pytest

from streams.ops.audit.checks import Check, check_count
from streams.ops.audit.delivery import Outcomes, check_delivery, count_classified
from streams.ops.audit.offset_sets import PAGE, OffsetSet

RAW = {0: (0, 10), 1: (0, 5)}


def outcomes(
    produced: dict[int, set[int]],
    classified: dict[int, set[int]],
    dead: dict[int, set[int]],
    held_from: dict[int, int] | None = None,
) -> Outcomes:
    produced_sets, classified_sets, dead_sets = (
        {partition: OffsetSet(found) for partition, found in of.items()} for of in (produced, classified, dead)
    )
    return Outcomes(produced_sets, classified_sets, dead_sets, {0: 0, 1: 0} if held_from is None else held_from)


class Everything:
    """Fifteen posts in two partitions; two of them are dead-lettered."""

    def __init__(self) -> None:
        self.produced = {0: set(range(10)), 1: set(range(5))}
        self.classified = {0: set(range(10)) - {3}, 1: set(range(1, 5))}
        self.dead = {0: {3}, 1: {0}}

    def check(
        self, raw: dict[int, tuple[int, int]] | None = None, held_from: dict[int, int] | None = None
    ) -> list[Check]:
        return check_delivery(outcomes(self.produced, self.classified, self.dead, held_from), raw or RAW)


def test_posts_that_all_have_one_result() -> None:
    delivered, both, deleted = Everything().check()
    assert (delivered.expected, delivered.found, delivered.ok, delivered.note) == (15, 15, True, "")
    assert (both.expected, both.found, both.ok) == (0, 0, True)
    assert (deleted.expected, deleted.found, deleted.ok) == (0, 0, True)


def test_no_posts_at_all_are_fine() -> None:
    assert all(check.ok for check in check_delivery(Outcomes(), {0: (0, 0)}))


def test_classified_posts_are_counted_once_up_to_the_end_of_the_raw_topic() -> None:
    found = outcomes({}, {0: {0, 3, PAGE - 1, PAGE, PAGE + 5}, 1: {2}}, {})
    assert count_classified(found, {0: (0, PAGE + 5), 1: (0, 9), 2: (0, 3)}) == 5
    assert count_classified(found, {0: (2, PAGE), 1: (0, 2)}) == 3


def test_a_lost_post_is_named() -> None:
    system = Everything()
    system.classified[0].discard(7)
    delivered, both, deleted = system.check()
    assert (delivered.ok, delivered.expected, delivered.found) == (False, 15, 14)
    assert delivered.note == "1 without a result, such as 0@7"
    assert both.ok
    assert deleted.ok


def test_of_the_lost_posts_of_a_partition_five_are_named() -> None:
    system = Everything()
    del system.classified[0], system.dead[0]
    system.classified[1].discard(4)
    delivered, _, _ = system.check()
    assert not delivered.ok
    assert delivered.note == "11 without a result, such as 0@0, 0@1, 0@2, 0@3, 0@4"


def test_a_post_that_is_both_classified_and_dead_lettered() -> None:
    system = Everything()
    system.dead[1].add(2)
    delivered, both, _ = system.check()
    assert delivered.ok
    assert (both.ok, both.found) == (False, 1)


@pytest.mark.parametrize("kind", ["classified", "dead"])
def test_a_result_of_an_offset_that_holds_no_post(kind: str) -> None:
    system = Everything()
    system.produced[1].discard(4)
    system.classified[1].discard(4)
    getattr(system, kind)[1].add(4)
    delivered, both, _ = system.check()
    assert (delivered.ok, delivered.expected, delivered.found) == (False, 14, 15)
    assert "never produced" in delivered.note
    assert both.ok


def test_a_result_of_a_post_that_was_never_produced() -> None:
    found = outcomes({0: {0}}, {0: {0}}, {})
    found.unknown_results = 7
    found.unknown = ["posts.classified[0]@3 names posts.raw[0]@9, which never was"]
    delivered, _, _ = check_delivery(found, {0: (0, 1)})
    assert not delivered.ok
    assert "never produced; posts.classified[0]@3 names posts.raw[0]@9" in delivered.note


def test_a_lost_post_is_found_beside_one_with_two_results() -> None:
    system = Everything()
    system.classified[0].discard(7)
    system.dead[0].add(8)
    delivered, both, _ = system.check()
    assert (delivered.found, delivered.ok, both.ok) == (15, False, False)


def test_results_of_raw_posts_that_kafka_has_deleted_are_left_out() -> None:
    system = Everything()
    system.produced[0] -= set(range(4))  # their classified posts and a dead letter are still there
    delivered, both, deleted = system.check({0: (4, 10), 1: (0, 5)})
    assert (delivered.expected, delivered.found, delivered.ok) == (11, 11, True)
    assert both.ok
    assert deleted.ok


def test_two_results_of_a_deleted_raw_post_are_left_out() -> None:
    system = Everything()
    system.produced[0] -= {0, 1}
    system.dead[0].add(1)
    assert all(check.ok for check in system.check({0: (2, 10), 1: (0, 5)}))


def test_a_lost_post_that_kafka_still_holds_is_found() -> None:
    system = Everything()
    system.produced[0] -= set(range(4))
    system.classified[0].discard(4)
    delivered, _, _ = system.check({0: (4, 10), 1: (0, 5)})
    assert (delivered.ok, delivered.note) == (False, "1 without a result, such as 0@4")


def test_posts_that_were_deleted_before_they_had_a_result_are_named() -> None:
    system = Everything()
    system.produced[0] -= set(range(4))
    system.classified[0] -= {0, 2}
    system.dead[0].clear()
    delivered, _, deleted = system.check({0: (4, 10), 1: (0, 5)})
    assert delivered.ok
    assert (deleted.ok, deleted.found, deleted.note) == (False, 3, "offsets 0@0, 0@2 to 0@3")


def test_deleted_posts_whose_results_are_deleted_too_are_no_gap() -> None:
    system = Everything()
    system.produced[0] -= set(range(7))
    system.classified[0] -= set(range(5))
    system.dead[0].clear()
    assert all(check.ok for check in system.check({0: (7, 10), 1: (0, 5)}, held_from={0: 5, 1: 0}))
    assert all(check.ok for check in system.check({0: (7, 10), 1: (0, 5)}, held_from={}))


def test_a_long_gap_is_one_range() -> None:
    found = outcomes({}, {0: {PAGE + 7}}, {}, {0: 5})
    *_, deleted = check_delivery(found, {0: (3 * PAGE, 3 * PAGE)})
    assert deleted.found == 3 * PAGE - 6
    assert deleted.note == f"offsets 0@5 to 0@{PAGE + 6}, 0@{PAGE + 8} to 0@{3 * PAGE - 1}"


@pytest.mark.parametrize(("found", "ok"), [(14, False), (15, True), (16, False)])
def test_a_count_is_compared_with_the_classified_posts(found: int, ok: bool) -> None:
    assert check_count("rows", 15, found, complete=True, note="n") == Check("rows", 15, found, ok, "n")


@pytest.mark.parametrize("found", [14, 15, 16])
def test_a_count_is_not_compared_if_kafka_has_deleted_classified_posts(found: int) -> None:
    check = check_count("rows", 15, found, complete=False)
    assert check.ok
    assert "not comparable" in check.note
