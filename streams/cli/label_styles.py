"""Tells labels apart in a terminal: by colours, as many as the terminal has, and without colours by letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console

from streams.charts.palette import COLOURS, OTHER, colour_of, label_order

# Two colours of the charts are too dark for words on a black terminal.
_LIT: Final = {**COLOURS, "anger": "#cc4030", "fear": "#6a62c4"}
_OTHER_LIT: Final = tuple({"#7d455f": "#a3637f", "#225240": "#3d7a62"}.get(colour, colour) for colour in OTHER)

# The terminal's nearest colour is the same for several colours of the charts, so fewer colours have a choice of their
# own. The first 16 of 256 colours are left out, because terminals let the user change them.
_OF_256: Final = {
    "joy": "color(178)",
    "sadness": "color(32)",
    "anger": "color(160)",
    "fear": "color(62)",
    "love": "color(168)",
    "surprise": "color(38)",
    "disgust": "color(65)",
    "neutral": "color(247)",
}
_OTHER_OF_256: Final = tuple(f"color({number})" for number in (132, 150, 101, 105, 96, 180, 36, 181, 29, 130))
_OF_16: Final = {
    "joy": "yellow",
    "sadness": "bright_blue",
    "anger": "red",
    "fear": "magenta",
    "love": "bright_magenta",
    "surprise": "cyan",
    "disgust": "green",
    "neutral": "bright_black",
}
_OTHER_OF_16: Final = ("bright_red", "bright_green", "bright_yellow", "blue", "bright_cyan", "white")

PALETTES: Final = {
    "truecolor": (_LIT, _OTHER_LIT),
    "256": (_OF_256, _OTHER_OF_256),
    "standard": (_OF_16, _OTHER_OF_16),
    "windows": (_OF_16, _OTHER_OF_16),
}
"""By the name that rich gives to what a terminal can show: the colours of known labels, and those of other labels."""

_MORE_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class LabelStyles:
    """The colour or the letter of each label. A label keeps its first one, also if others come later.

    Attributes:
        has_colours: whether the terminal shows colours. It does not if it is a file or a pipe, or if NO_COLOR is set.
    """

    def __init__(self, console: Console, labels: Iterable[str] = ()) -> None:
        """Give colours and letters to these labels first, in the order of `label_order`."""
        system = None if console.no_color else console.color_system
        self._palette = PALETTES.get(system) if system is not None else None
        self.has_colours = self._palette is not None
        self._labels = label_order(labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels so far."""
        return tuple(self._labels)

    def of(self, label: str) -> str:
        """Returns the colour of a label as a style of rich; an empty style without colours."""
        self._add(label)
        if self._palette is None:
            return ""
        known, others = self._palette
        return colour_of(label, self._labels, known, others)

    def letters(self) -> dict[str, str]:
        """Returns a letter for each label: one in it that no label before it has, or else a capital letter or a digit.

        When all of these are used, labels share the question mark.
        """
        letters: dict[str, str] = {}
        for label in self._labels:
            own = [letter for letter in label.lower() if "a" <= letter <= "z"]
            free = (letter for letter in (*own, *_MORE_LETTERS) if letter not in letters.values())
            letters[label] = next(free, "?")
        return letters

    def _add(self, label: str) -> None:
        if label not in self._labels:
            self._labels.append(label)
