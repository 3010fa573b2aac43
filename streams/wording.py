"""Words of messages for people. Pure."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun: `1 hole`, `2,000 holes`, `2 processes`.

    `plural` is needed for nouns whose plural does not end in `s`.
    """
    plural = plural or (f"{noun}es" if noun.endswith("s") else f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"
