from __future__ import annotations

import io
import itertools

import pytest
from rich.color import ColorSystem
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.style import Style

from streams.charts.palette import COLOURS, contrast
from streams.cli.label_styles import PALETTES, LabelStyles

SYSTEMS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}


def styles(system: str | None, *labels: str, no_color: bool = False) -> LabelStyles:
    console = Console(
        file=io.StringIO(),
        force_terminal=system is not None,
        color_system=system,  # type: ignore[arg-type] - a literal in rich
        no_color=no_color,
    )
    return LabelStyles(console, labels)


def shown(style: str, system: str) -> tuple[int | None, ColorTriplet | None]:
    """Returns the colour that a terminal with these colours shows for a style: its number, or red, green and blue."""
    colour = Style.parse(style).color
    assert colour is not None
    found = colour.downgrade(SYSTEMS[system])
    return found.number, found.triplet


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_known_label_has_a_colour_that_the_terminal_shows_for_no_other(system: str) -> None:
    colours = styles(system, *COLOURS)
    for one, other in itertools.combinations(COLOURS, 2):
        assert shown(colours.of(one), system) != shown(colours.of(other), system), (one, other)


@pytest.mark.parametrize(("system", "count"), [("truecolor", 10), ("256", 10), ("standard", 6)])
def test_other_labels_have_further_colours_until_all_are_used(system: str, count: int) -> None:
    labels = [f"label {number:02}" for number in range(count + 1)]
    colours = styles(system, *labels, *COLOURS)
    found = [shown(colours.of(label), system) for label in (*COLOURS, *labels)]
    assert len(set(found[:-1])) == len(found[:-1]) == len(COLOURS) + count
    assert found[-1] in found[len(COLOURS) : -1]


@pytest.mark.parametrize("system", PALETTES)
def test_each_palette_has_every_known_label(system: str) -> None:
    known, _ = PALETTES[system]
    assert list(known) == list(COLOURS)


def test_a_later_label_does_not_change_the_colour_of_an_earlier_one() -> None:
    colours = styles("truecolor", "spam")
    first = {label: colours.of(label) for label in ("spam", "joy", "ham", "größer")}
    assert len(set(first.values())) == 4
    for number in range(20):
        colours.of(f"label {number}")
    assert {label: colours.of(label) for label in first} == first


@pytest.mark.parametrize("ground", ["#000000", "#ffffff"])
def test_words_in_the_colours_of_anger_and_fear_can_be_read_on_black_and_on_white(ground: str) -> None:
    colours = styles("truecolor", *COLOURS)
    assert contrast(COLOURS["fear"], "#000000") < 3, "the colour of the charts is too dark"
    assert all(contrast(colours.of(label), ground) >= 3 for label in ("anger", "fear"))


@pytest.mark.parametrize(("system", "no_color"), [(None, False), ("truecolor", True)])
def test_without_colours_labels_have_letters(system: str | None, no_color: bool) -> None:
    plain = styles(system, *COLOURS, no_color=no_color)
    assert not plain.has_colours
    assert plain.of("joy") == ""
    assert "".join(plain.letters().values()) == "jsafludn"


def test_each_letter_belongs_to_one_label_until_all_are_used() -> None:
    letters = styles(None, *(f"größe {number}" for number in range(50))).letters()
    found = list(letters.values())
    assert all(len(letter) == 1 and letter.isascii() for letter in found)
    assert len(set(found) - {"?"}) == 39
    assert found.count("?") == 11
