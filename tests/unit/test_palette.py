from __future__ import annotations

import json
import re
import subprocess
import sys

from streams.charts.palette import (
    COLOURS,
    HATCHES,
    OTHER,
    REST,
    SENTIMENTS,
    colour_of,
    label_order,
    palette_json,
    styles_of,
)


def test_known_labels_come_first_in_their_order_and_others_by_name() -> None:
    assert label_order(["zeal", "fear", "awe", "joy", "fear"]) == ["joy", "fear", "awe", "zeal"]


def test_the_colour_of_a_known_label_does_not_depend_on_other_labels() -> None:
    assert colour_of("joy", ["awe", "joy"]) == colour_of("joy", ["joy"]) == COLOURS["joy"]
    assert colour_of("negative", ["negative"]) == SENTIMENTS["negative"]


def test_the_colour_of_another_label_is_stable() -> None:
    assert colour_of("gratitude", ["gratitude"]) == colour_of("gratitude", ["a label that comes first", "gratitude"])
    code = "from streams.charts.palette import colour_of; print(colour_of('gratitude', ['gratitude']))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == colour_of("gratitude", ["gratitude"]), "another process has other hashes"


def test_other_labels_have_different_colours_until_all_are_used() -> None:
    labels = ["joy", *(f"label {number}" for number in range(2 * len(OTHER)))]
    others = [colour_of(label, labels) for label in labels if label != "joy"]
    assert set(others[: len(OTHER)]) == set(others[len(OTHER) :]) == set(OTHER)


def test_labels_that_share_a_colour_have_different_hatches() -> None:
    looks = [(style.colour, style.hatch) for style in styles_of([f"label {n}" for n in range(2 * len(OTHER))]).values()]
    assert len(set(looks)) == len(looks)


def test_all_colours_are_valid_and_different() -> None:
    colours = [*COLOURS.values(), *SENTIMENTS.values(), *OTHER]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(colours)) == len(colours)


def test_programs_in_other_languages_read_the_palette_as_json() -> None:
    palette = json.loads(palette_json(["größe", "joy"]))
    assert set(palette) == {"labels", "ink", "muted", "grid", "paper", "hatches"}
    assert list(palette["labels"]) == [*COLOURS, *SENTIMENTS, REST, "größe"]
    assert {label: palette["labels"][label]["colour"] for label in COLOURS} == COLOURS
    assert palette["labels"]["größe"]["colour"] == colour_of("größe", ["größe"])
    assert {style["hatch"] for style in palette["labels"].values()} <= {"", *HATCHES}


def test_the_palette_and_the_layout_of_charts_load_no_drawing_library() -> None:
    code = (
        "import sys, streams.charts.emotion_bars, streams.charts.emotion_pie, streams.charts.render;"
        "print({'matplotlib', 'numpy', 'PIL'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == "set()\n"
