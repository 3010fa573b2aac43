"""Writes docs/reference/palette.md from the palette. Pure."""

from __future__ import annotations

from streams.charts.palette import COLOURS, OTHER, REST, SENTIMENTS, styles_of

_HEAD = """\
# Palette

Each label has one colour and one hatch in all charts, in the tables of the command line and in the Tableau workbook.
The palette is in `streams/charts/palette.py`, and `make schemas` writes this page from it.

| label | colour | hatch | text on it |
|---|---|---|---|
"""

_TEXT = """\

The tests simulate protanopia, deuteranopia and tritanopia with the matrices of Machado, Oliveira and Fernandes (2009).
With each of them, and without, any two emotions differ by at least 12 in CIEDE2000. Their lightness (L\\* of CIELAB)
differs by at least 5. Two labels that differ by less than 10 have different hatches, so neighbours can be told apart in
black and white. The charts also write the names beside the larger parts.

A text on a colour has a contrast of at least 4.5, as WCAG 2.2 asks for. Terminals show anger and fear lighter, because
their colours cannot be read on black.

## Labels of other models

A label that is not in the table above has one of these colours, which follows from the label's name:

| colour | hatch | text on it |
|---|---|---|
"""

_END = """\

If two labels of one chart would have the same colour, the later one takes the next free colour. So a label has the same
colour in most charts. Give `colour_of` and `styles_of` all labels of a model to have the same in all its charts. If
there are more labels than colours, two labels share a colour and have different hatches.

A chart has at most ten labels. If there are more, those with fewest posts are drawn as one, `other`, and the chart
names them.

## Other programs

`palette_json` returns the palette for programs in other languages, with the labels that you give it:

```bash
python -c "from streams.charts.palette import palette_json; print(palette_json(['gratitude']))"
```
"""


def palette_page() -> str:
    """Returns the content of docs/reference/palette.md."""
    known = styles_of([*COLOURS, *SENTIMENTS, REST])
    others = styles_of([f"label {number}" for number in range(len(OTHER))])
    by_colour = {style.colour: style for style in others.values()}
    listed = [f"| {label} | {_cells(style.colour, style.hatch, style.ink)} |" for label, style in known.items()]
    further = [f"| {_cells(colour, by_colour[colour].hatch, by_colour[colour].ink)} |" for colour in OTHER]
    return f"{_HEAD}{_lines(listed)}{_TEXT}{_lines(further)}{_END}"


def _cells(colour: str, hatch: str, ink: str) -> str:
    return f"`{colour}` | {hatch or 'none'} | `{ink}`"


def _lines(rows: list[str]) -> str:
    return "".join(f"{row}\n" for row in rows)
