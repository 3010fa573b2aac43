"""Gives each label a colour, the same in the terminal and in charts, for the labels of any model. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

COLOURS = {
    "joy": "#e0a020",
    "sadness": "#3b6fb6",
    "anger": "#c8402f",
    "fear": "#6b4fa0",
    "love": "#d9688f",
    "surprise": "#2a9d8f",
    "disgust": "#6a8d2f",
    "neutral": "#9aa0a6",
}
"""Colours of the labels of the bundled models. Other labels have a colour of `OTHER`."""

OTHER = (
    "#8d6e63",
    "#4e8098",
    "#c77d2e",
    "#5f9e6e",
    "#a6538f",
    "#7a6fc0",
    "#b5a642",
    "#3f7f7a",
    "#b0596a",
    "#7f8c5a",
)
"""Colours of other labels, in this order. If there are more labels than colours, labels share them."""


def label_order(labels: Iterable[str]) -> list[str]:
    """Returns the labels without duplicates: those of `COLOURS` in its order, then the others in alphabetical order."""
    known = list(COLOURS)
    return sorted(set(labels), key=lambda label: (known.index(label) if label in COLOURS else len(known), label))


def colour_of(label: str, labels: Sequence[str]) -> str:
    """Returns the colour of a label, which must be one of `labels`."""
    if label in COLOURS:
        return COLOURS[label]
    others = [other for other in labels if other not in COLOURS]
    return OTHER[others.index(label) % len(OTHER)]


class Colours:
    """Colours for labels that appear one at a time, as in a stream. A label keeps its first colour."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        """Give colours to these labels first, in the order of `label_order`."""
        self._labels = label_order(labels)

    def of(self, label: str) -> str:
        """Returns the colour of a label."""
        if label not in self._labels:
            self._labels.append(label)
        return colour_of(label, self._labels)
