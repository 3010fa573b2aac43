"""Gives each label of any model a colour and a hatch, the same in all charts, tables and programs. Pure.

The colours were chosen so that any two known labels can be told apart with any colour vision: seen normally, and with
protanopia, deuteranopia and tritanopia as simulated by Machado, Oliveira and Fernandes, "A Physiologically-based Model
for Simulation of Color Vision Deficiency" (2009). Lightness differs between any two as well. Where it differs little,
one of the two has a hatch, which tells them apart in black and white. `tests/unit/test_palette_vision.py` measures all
of this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

INK: Final = "#22262b"
"""Colour of texts on white, and on light colours."""

MUTED: Final = "#5f666d"
"""Colour of texts of second rank on white."""

GRID: Final = "#e6e8eb"
PAPER: Final = "#ffffff"

COLOURS: Final = {
    "joy": "#e6bd13",
    "sadness": "#2679b6",
    "anger": "#a81f0d",
    "fear": "#413a95",
    "love": "#e46385",
    "surprise": "#2bc2e3",
    "disgust": "#536e49",
    "neutral": "#9fa5a9",
}
"""Colours of the emotions of the bundled model. Other labels have a colour of `OTHER`."""

SENTIMENTS: Final = {"negative": "#9a3b12", "positive": "#8fd6ee"}
"""Colours of the sentiments of the bundled model; `neutral` is in `COLOURS`."""

OTHER: Final = (
    "#7d455f",
    "#b1d797",
    "#92953d",
    "#8189f2",
    "#806b8b",
    "#c29f75",
    "#34a087",
    "#dfbfb9",
    "#225240",
    "#b55917",
)
"""Colours of other labels. If there are more labels than colours, labels share them."""

HATCHES: Final = ("rising", "falling", "level", "upright", "crossed", "dotted")
"""Names of the hatches: lines that rise or fall to the right, level and upright lines, crossed lines, and dots."""

HATCH_OPACITY: Final = 0.45

_KNOWN_HATCHES: Final = {"fear": "rising", "love": "falling", "surprise": "crossed", "disgust": "dotted"}
_OTHER_HATCHES: Final = (
    "falling", "rising", "rising", "dotted", "crossed", "upright", "level", "dotted", "crossed", "falling",
)  # fmt: skip
"""Hatches of the colours in `OTHER`. The next ten labels have the same colours with the hatch of five places later."""

REST: Final = "(other)"
"""The label of several small shares that are drawn as one."""

_REST_COLOUR: Final = "#dde0e3"


@dataclass(frozen=True)
class Style:
    """What a label looks like.

    Attributes:
        colour: colour of its area, "#rrggbb".
        ink: colour of a text or a hatch on this area: the one of `INK` and white with the higher contrast.
        hatch: one of `HATCHES`, or an empty string for none.
    """

    colour: str
    ink: str
    hatch: str


def label_order(labels: Iterable[str]) -> list[str]:
    """Returns the labels without duplicates: those of `COLOURS` in its order, then the others in alphabetical order."""
    known = list(COLOURS)
    return sorted(set(labels), key=lambda label: (known.index(label) if label in COLOURS else len(known), label))


def colour_of(
    label: str, labels: Sequence[str], known: Mapping[str, str] | None = None, others: Sequence[str] = OTHER
) -> str:
    """Returns the colour of a label, which must be one of `labels`: that in `known`, else one of `others`.

    A label has the same colour in every chart, unless two unknown labels of one chart would have the same. Then the
    later one of `labels` takes the next free colour. Give all labels of the model to have the same in all its charts.

    Args:
        label: the label.
        labels: all labels that are shown together, in the order in which they choose.
        known: colours of labels; by default `COLOURS` and `SENTIMENTS`.
        others: colours of all other labels.
    """
    known = {**COLOURS, **SENTIMENTS} if known is None else known
    return known[label] if label in known else others[_slots(labels, known, len(others))[label] % len(others)]


def styles_of(labels: Sequence[str]) -> dict[str, Style]:
    """Returns the style of each of these labels, which are shown together. See `colour_of`."""
    known = {**COLOURS, **SENTIMENTS, REST: _REST_COLOUR}
    slots = _slots(labels, known, len(OTHER))
    styles = {}
    for label in labels:
        if label in known:
            colour, hatch = known[label], _KNOWN_HATCHES.get(label, "")
        else:
            turn, place = divmod(slots[label], len(OTHER))
            colour, hatch = OTHER[place], _OTHER_HATCHES[(place + 5 * turn) % len(OTHER)]
        styles[label] = Style(colour, ink_on(colour), hatch)
    return styles


def _slots(labels: Sequence[str], known: Mapping[str, str], size: int) -> dict[str, int]:
    """Returns a place for each unknown label: that of its checksum, or the next free one. A turn fills all places."""
    slots: dict[str, int] = {}
    for label in dict.fromkeys(labels):
        if label in known:
            continue
        turn = len(slots) // size
        taken = {slot for slot in slots.values() if slot // size == turn}
        place = crc32(label.encode("utf-8", "surrogatepass")) % size
        slots[label] = next(slot for step in range(size) if (slot := turn * size + (place + step) % size) not in taken)
    return slots


def luminance(colour: str) -> float:
    """Returns the relative luminance of "#rrggbb", from 0 to 1, as WCAG 2.2 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Returns the contrast ratio of two colours, from 1 to 21, as WCAG 2.2 defines it. Texts need 4.5."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(colour: str) -> str:
    """Returns the colour of a text on this colour: the one of `INK` and white with the higher contrast."""
    return max((INK, PAPER), key=lambda ink: contrast(ink, colour))


def palette_json(labels: Iterable[str] = ()) -> str:
    """Returns the palette as JSON, for programs in other languages.

    It has the styles of the emotions and sentiments of the bundled model, of `labels`, and of the rest:
    `{"labels": {"joy": {"colour", "ink", "hatch"}, …}, "ink", "muted", "grid", "paper", "hatches"}`.
    """
    names = list(dict.fromkeys([*COLOURS, *SENTIMENTS, REST, *label_order(labels)]))
    styles = {
        label: {"colour": style.colour, "ink": style.ink, "hatch": style.hatch}
        for label, style in styles_of(names).items()
    }
    return json.dumps(
        {"labels": styles, "ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, "hatches": HATCHES},
        ensure_ascii=False,
        indent=2,
    )
