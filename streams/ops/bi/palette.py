"""Gives each label a colour, the same in all charts, for the labels of any model. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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


def colour_of(
    label: str, labels: Sequence[str], known: Mapping[str, str] = COLOURS, others: Sequence[str] = OTHER
) -> str:
    """Returns the colour of a label, which must be one of `labels`: that in `known`, else one of `others` in turn."""
    if label in known:
        return known[label]
    unknown = [other for other in labels if other not in known]
    return others[unknown.index(label) % len(others)]
