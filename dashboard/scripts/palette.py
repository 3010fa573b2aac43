"""Prints the palette of labels as JSON for the dashboard; with `--cases`, styles of many labels for its tests."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from streams.charts import palette

CASES = (
    ["joy", "sadness", "anger", "fear", "love", "surprise", "disgust", "neutral", "negative", "positive", "(other)"],
    ["gratitude"],
    ["admiration", "amusement", "annoyance", "approval", "caring", "confusion", "curiosity", "desire", "joy"],
    [f"label {number}" for number in range(25)],
    ["الفرح", "😀", "радость", "喜び", "", "a\ud800"],
)


def cases() -> str:
    """Returns lists of labels with their styles, as `styles_of` has them."""
    styles = [
        {"labels": labels, "styles": {k: asdict(v) for k, v in palette.styles_of(labels).items()}} for labels in CASES
    ]
    return json.dumps(styles, indent=1)


def of_page() -> str:
    """Returns the palette, and what the page needs to choose the styles of other labels by the same rule."""
    found = json.loads(palette.palette_json())
    # A full turn of unknown labels has every colour and hatch of the rule once.
    found["hatch_opacity"] = palette.HATCH_OPACITY
    found["others"] = _others()
    return json.dumps(found, ensure_ascii=False, indent=2)


def _others() -> list[dict[str, str]]:
    """Returns the styles of two turns of unknown labels, in the order of their places."""
    size = len(palette.OTHER)
    labels = [str(number) for number in range(2 * size)]
    styles = list(palette.styles_of(labels).values())
    turns = [styles[:size], styles[size:]]
    return [asdict(style) for turn in turns for style in sorted(turn, key=lambda one: palette.OTHER.index(one.colour))]


if __name__ == "__main__":
    sys.stdout.write((cases() if "--cases" in sys.argv[1:] else of_page()) + "\n")
