"""One plain sentence that says what happened. Pure.

Keywords and labels come from posts and models. Each is isolated (U+2068 and U+2069), so that a text that is written
from right to left does not reorder the sentence (Unicode Standard Annex 9).
"""

from __future__ import annotations

from streams.alerts.evidence import Sameness
from streams.alerts.rule import Rule
from streams.records import AlertReason


def opening(rule: Rule, keyword: str, reason: AlertReason) -> str:
    """Returns what happened: `anger rose to 41 % of 320 posts about coffee (usual at this hour: 12 %, …)`."""
    raise NotImplementedError


def closing(rule: Rule, keyword: str, because: str, value: float | None) -> str:
    """Returns how an incident ended, for a `because` of `Closed`."""
    raise NotImplementedError


def concentration(sameness: Sameness) -> str | None:
    """Returns a sentence if much of the posts is by one author or has one text: `60 of 80 posts are by one author`."""
    raise NotImplementedError
