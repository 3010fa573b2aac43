"""Whether a value begins or ends an incident by the condition of a rule. Pure.

A value fulfils a threshold if it passes the limit, and a change or a z-score if it reaches it:

    threshold above 30, clear 20      clears <= 20 | between | 30 < fulfils
    change above by 10, clear 5       clears <  5  | between | 10 <= fulfils   from the usual value
    z-score above 4, clear 2          clears <  2  | between | 4  <= fulfils   from the usual value

So with `clear` at the limit, each value does exactly one of both. `below` is the mirror image.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from streams.alerts.engine.baseline import Usual
from streams.alerts.engine.measure import Measured
from streams.alerts.rules.rule import Change, Condition, Direction, RobustZScore, Rule, Threshold, Volume


class Verdict(Enum):
    """What a window says about an incident."""

    FULFILS = auto()
    BETWEEN = auto()
    """It neither begins nor ends one."""

    CLEARS = auto()
    NO_DATA = auto()


class Judgement(NamedTuple):
    """A verdict and what it rests on.

    Attributes:
        verdict: what the window says.
        limit: the value that it has to pass or to reach, in posts or percent.
        usual: the usual value; None for a threshold.
        z: the distance from it in standard deviations; None for a threshold.
        hours: the number of hours that tell what is usual.
    """

    verdict: Verdict
    limit: float
    usual: float | None = None
    z: float | None = None
    hours: int = 0


def needs_baseline(condition: Condition) -> bool:
    """Returns whether a condition compares with what is usual."""
    return not isinstance(condition, Threshold)


def is_too_small(rule: Rule, found: Measured | None) -> bool:
    """Returns whether a window has too few posts to begin an incident."""
    if isinstance(rule.measure, Volume):
        return found is None or (rule.condition.direction is Direction.ABOVE and found.whole < rule.min_posts)
    return found is None or found.whole < rule.min_posts


def is_monotone(rule: Rule) -> bool:
    """Returns whether a provisional window that fulfils the rule does so when it is final: its posts only get more."""
    return isinstance(rule.measure, Volume) and rule.condition.direction is Direction.ABOVE


def judge(rule: Rule, found: Measured, usual: Usual | None) -> Judgement | None:
    """Returns what a window says about an incident; None if it is no data.

    A share of too few posts is no data, and so is any value that is to be compared if it is not known what is usual.

    Args:
        rule: the rule.
        found: the value of the window.
        usual: what is usual; None if the condition does not need it, or too few hours are known.
    """
    condition = rule.condition
    too_small = is_too_small(rule, found)
    if too_small and not isinstance(rule.measure, Volume):
        return None
    # All is turned so that more is nearer to an incident.
    sign = -1 if condition.direction is Direction.BELOW else 1
    if isinstance(condition, Threshold):
        clear = condition.limit if condition.clear is None else condition.clear
        verdict = _verdict(sign * found.value > sign * condition.limit, sign * found.value <= sign * clear, too_small)
        return Judgement(verdict, condition.limit)
    if usual is None:
        return None
    z = usual.z(found)
    if isinstance(condition, RobustZScore):
        fulfils, clears = sign * z >= condition.z, sign * z < _clear(condition.clear, condition.z)
        limit = usual.at(sign * condition.z, found)
    else:
        fulfils, clears, limit = _changed(condition, found.value, usual.value, sign, isinstance(rule.measure, Volume))
    return Judgement(_verdict(fulfils, clears, too_small), limit, usual.value, z, usual.hours)


def _changed(condition: Change, value: float, usual: float, sign: int, is_relative: bool) -> tuple[bool, bool, float]:
    """Returns whether a change is fulfilled, whether it clears, and the value that it has to reach."""

    def at(by: float) -> float:
        return usual + sign * (usual * by / 100 if is_relative else by)

    limit, clear = at(condition.by), at(_clear(condition.clear, condition.by))
    differs = sign * value > sign * usual
    return differs and sign * value >= sign * limit, not differs or sign * value < sign * clear, limit


def _clear(given: float | None, begins: float) -> float:
    return begins / 2 if given is None else given


def _verdict(fulfils: bool, clears: bool, too_small: bool) -> Verdict:
    if clears:
        return Verdict.CLEARS
    return Verdict.FULFILS if fulfils and not too_small else Verdict.BETWEEN
