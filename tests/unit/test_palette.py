from __future__ import annotations

import re

from streams.ops.bi.palette import COLOURS, OTHER, colour_of, label_order


def test_known_labels_come_first_in_their_order_and_others_by_name() -> None:
    assert label_order(["zeal", "fear", "awe", "joy", "fear"]) == ["joy", "fear", "awe", "zeal"]


def test_the_colour_of_a_known_label_does_not_depend_on_other_labels() -> None:
    assert colour_of("joy", ["awe", "joy"]) == colour_of("joy", ["joy"]) == COLOURS["joy"]


def test_other_labels_have_different_colours_until_all_are_used() -> None:
    labels = ["joy", *(f"label {number}" for number in range(len(OTHER) + 1))]
    others = [colour_of(label, labels) for label in labels if label != "joy"]
    assert others == [*OTHER, OTHER[0]]


def test_all_colours_are_valid_and_different() -> None:
    colours = [*COLOURS.values(), *OTHER]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(colours)) == len(colours)
