"""Measures the palette: with any colour vision, in black and white, and as a ground for text."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from streams.charts.palette import (
    COLOURS,
    HATCHES,
    INK,
    MUTED,
    OTHER,
    PAPER,
    REST,
    SENTIMENTS,
    Style,
    contrast,
    ink_on,
    luminance,
    styles_of,
)
from tests.unit.colour_vision import SIMULATIONS, ciede2000, difference, lightness

MANIFEST = Path(__file__).parents[2] / "models/bundled/emotion-minilm-l4/manifest.json"
EMOTIONS, SENTIMENT_LABELS = (head["labels"] for head in json.loads(MANIFEST.read_text("utf-8"))["heads"][:2])

DISTINCT = 12.0
"""CIEDE2000 of two colours that are told apart at a glance, also in small areas. About 1 can just be noticed."""

APART_IN_GREY = 10.0
"""Difference of L* from which two neighbouring areas without hatches can be told apart in print."""


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.0, 2.0), (50.0, 0.0, 0.0), 2.3669),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_differences_are_those_of_the_test_data_of_sharma_wu_and_dalal(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=5e-5)


def test_the_simulation_takes_red_and_green_apart_only_for_those_who_see_them() -> None:
    red, green = "#c04030", "#6a7a1a"
    assert difference(red, green) > 40
    assert difference(red, green, "deuteranopia") < difference(red, green) / 2
    assert difference("#777777", "#777777", "tritanopia") == 0


def test_the_labels_of_the_bundled_model_have_colours_of_their_own() -> None:
    assert list(COLOURS) == EMOTIONS
    assert set(SENTIMENT_LABELS) <= {*COLOURS, *SENTIMENTS}


@pytest.mark.parametrize("vision", SIMULATIONS)
@pytest.mark.parametrize("labels", [EMOTIONS, SENTIMENT_LABELS], ids=["emotions", "sentiments"])
def test_any_two_labels_look_different_with_any_colour_vision(vision: str, labels: list[str]) -> None:
    styles = styles_of(labels)
    found = {
        (one, other): difference(styles[one].colour, styles[other].colour, vision)
        for one, other in itertools.combinations(labels, 2)
    }
    assert min(found.values()) >= DISTINCT, min(found, key=found.__getitem__)


@pytest.mark.parametrize("labels", [EMOTIONS, SENTIMENT_LABELS], ids=["emotions", "sentiments"])
def test_in_black_and_white_any_two_labels_differ_in_lightness(labels: list[str]) -> None:
    styles = styles_of(labels)
    for one, other in itertools.combinations(labels, 2):
        assert abs(lightness(styles[one].colour) - lightness(styles[other].colour)) >= 5, (one, other)


def test_any_two_labels_of_any_models_differ_in_black_and_white_by_lightness_or_hatch() -> None:
    others = _others()
    styles = {**styles_of([*COLOURS, *SENTIMENTS, REST]), **others}
    assert {style.colour for style in others.values()} == set(OTHER)
    for one, other in itertools.combinations(styles, 2):
        if {one, other} & SENTIMENTS.keys() and {one, other} & {*COLOURS, *others, REST} - {"neutral"}:
            continue  # no chart shows emotions and sentiments together
        assert _differ_in_grey(styles[one], styles[other]), (one, other)


def test_the_hatches_exist() -> None:
    used = {style.hatch for style in (*styles_of([*COLOURS, REST]).values(), *_others().values())}
    assert used == {"", *HATCHES}


@pytest.mark.parametrize("colour", [*COLOURS.values(), *SENTIMENTS.values(), *OTHER])
def test_a_text_on_a_colour_has_the_contrast_that_wcag_asks_for(colour: str) -> None:
    assert contrast(ink_on(colour), colour) >= 4.5


@pytest.mark.parametrize("colour", [INK, MUTED])
def test_texts_on_white_have_the_contrast_that_wcag_asks_for(colour: str) -> None:
    assert contrast(colour, PAPER) >= 4.5


def test_luminance_and_contrast_are_those_of_wcag() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert luminance("#ff0000") == pytest.approx(0.2126)


def _differ_in_grey(one: Style, other: Style) -> bool:
    return one.hatch != other.hatch or abs(lightness(one.colour) - lightness(other.colour)) >= APART_IN_GREY


def _others() -> dict[str, Style]:
    labels = [f"label {number}" for number in range(len(OTHER))]
    return styles_of(labels)
