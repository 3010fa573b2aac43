"""What is wrong with a rule, with the field that it is about. Pure.

A rule may be sound and still never find anything, because the system counts no windows of its size, no model has its
label, or nobody configured its channel. `served_problems` tells that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from streams.alerts.rules.rule import EmotionShare, Rule, SentimentShare
from streams.window_sizes import format_duration

_ROOT = "Value error, "
_TAGS = frozenset({"volume", "emotion", "sentiment", "threshold", "change", "zscore"})
"""What pydantic adds to the place of an error for the member of a union that it chose."""


class RuleProblem(NamedTuple):
    """One thing that is wrong with a rule: the field, such as `condition.limit`, or empty for the rule, and what."""

    field: str
    what: str

    def __str__(self) -> str:
        """Returns the problem on one line."""
        return f"{self.field}: {self.what}" if self.field else self.what


@dataclass(frozen=True)
class Served:
    """What the system has for rules. None stands for what is not known, and is not checked.

    Attributes:
        sizes: the sizes of windows that it counts, in seconds.
        emotions: the labels of emotions that the served models have.
        sentiments: their labels of sentiments.
        channels: the channels of the channels file.
    """

    sizes: Collection[int] | None = None
    emotions: Collection[str] | None = None
    sentiments: Collection[str] | None = None
    channels: Collection[str] | None = None


def problems_of(error: ValidationError) -> list[RuleProblem]:
    """Returns the problems that the validation of a rule found."""
    return [_problem(one["loc"], one["msg"]) for one in error.errors(include_url=False, include_context=False)]


def _problem(loc: tuple[int | str, ...], message: str) -> RuleProblem:
    what = message.removeprefix(_ROOT)
    if not loc and message.startswith(_ROOT):
        # The validators of the whole rule begin with the field that they are about.
        field, colon, rest = what.partition(": ")
        if colon and field in Rule.model_fields:
            return RuleProblem(field, rest)
    parts = [str(part) for part in loc]
    tagged = len(parts) > 1 and parts[0] in {"measure", "condition"} and parts[1] in _TAGS
    if parts[:1] == ["keywords"] and len(parts) > 1 and not parts[1].isdecimal():
        # Keywords are a list or the word `each`; the place also says which of them was tried.
        return RuleProblem("keywords", what)
    return RuleProblem(".".join(parts[:1] + parts[2:] if tagged else parts), what)


def served_problems(rule: Rule, served: Served) -> list[RuleProblem]:
    """Returns what the system lacks for a rule, with what it has."""
    found = []
    if served.sizes is not None and rule.window_s not in served.sizes:
        sizes = ", ".join(f"{size} ({format_duration(size)})" for size in sorted(served.sizes))
        found.append(RuleProblem("window_s", f"windows of this size are not counted; the sizes are {sizes}"))
    measure = rule.measure
    if isinstance(measure, EmotionShare | SentimentShare):
        labels = served.emotions if isinstance(measure, EmotionShare) else served.sentiments
        if labels is not None and measure.label not in labels:
            found.append(
                RuleProblem("measure.label", f"no served model has this label; the labels are {_list(labels)}")
            )
    if served.channels is not None:
        unknown = [name for name in rule.channels if name not in served.channels]
        found.extend(
            RuleProblem("channels", f"there is no channel {name}; the channels are {_list(served.channels)}")
            for name in unknown
        )
    return found


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"
