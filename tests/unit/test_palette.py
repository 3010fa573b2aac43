from __future__ import annotations

import re

from streams.ops.bi.palette import COLOURS, OTHER, Colours, colour_of, label_order


def test_known_labels_come_first_in_their_order_and_others_by_name() -> None:
    assert label_order(["zeal", "fear", "awe", "joy", "fear"]) == ["joy", "fear", "awe", "zeal"]


def test_a_known_label_has_its_colour_whatever_is_beside_it() -> None:
    assert colour_of("joy", ["awe", "joy"]) == colour_of("joy", ["joy"]) == COLOURS["joy"]


def test_other_labels_differ_until_there_are_no_more_colours() -> None:
    labels = ["joy", *(f"label {number}" for number in range(len(OTHER) + 1))]
    others = [colour_of(label, labels) for label in labels if label != "joy"]
    assert others == [*OTHER, OTHER[0]]


def test_colours_are_colours_and_differ() -> None:
    colours = [*COLOURS.values(), *OTHER]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(colours)) == len(colours)


def test_labels_that_become_known_later_change_no_colour() -> None:
    colours = Colours(["spam"])
    assert [colours.of(label) for label in ("spam", "joy", "ham", "spam", "größer", "ham")] == [
        OTHER[0],
        COLOURS["joy"],
        OTHER[1],
        OTHER[0],
        OTHER[2],
        OTHER[1],
    ]
