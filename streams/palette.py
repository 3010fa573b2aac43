"""One colour per label, the same in the terminal and in charts. Pure."""

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
"""The labels of the models we ship. Labels that are not here take a colour of `OTHER`."""

OTHER = ("#8d6e63", "#4e8098", "#b08968", "#7f9c96")


def label_order(labels: Iterable[str]) -> list[str]:
    """Known labels in the order of `COLOURS`, then the others in alphabetical order; each once."""
    known = list(COLOURS)
    return sorted(set(labels), key=lambda label: (known.index(label) if label in COLOURS else len(known), label))


def colour_of(label: str, labels: Sequence[str]) -> str:
    """The colour of a label among `labels`."""
    if label in COLOURS:
        return COLOURS[label]
    others = [other for other in labels if other not in COLOURS]
    return OTHER[others.index(label) % len(OTHER)]
