"""Rules of other systems: a plain threshold, and a rule of Prometheus with `for`. Pure.

Prometheus evaluates the expression of a rule at each interval. A series that fulfils it is *pending*. It is *firing*
once it has been fulfilled in each evaluation for the time of `for`. A series that does not fulfil it, or has no value,
is inactive at once, whether it was pending or firing, because `keep_firing_for` is 0 by default. Each passage to firing
is an alarm. https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/

Here the evaluations are at the ends of the windows. So `for: 15m` with windows of 5 minutes fires in the fourth
evaluation: in the first one the alert becomes active, and in the fourth it has been active for 15 minutes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.alerts.streams import Floats, Stream


class Alarm(NamedTuple):
    """An alarm: the first window that fulfils the rule, and the window with which it fires."""

    began: int
    decided: int


def prometheus(values: Floats, limit: float, first: int, *, for_s: int, size_s: int) -> list[Alarm]:
    """Returns the alarms of `expr: value > limit` with `for`.

    Args:
        values: The value of each window; NaN for one without a value.
        limit: What the value must be above.
        first: The first window that is evaluated.
        for_s: Seconds of the clause `for`; 0 for a rule without.
        size_s: Seconds between two evaluations.
    """
    found: list[Alarm] = []
    active: int | None = None
    firing = False
    with np.errstate(invalid="ignore"):
        above = values > limit
    for window in range(first, len(values)):
        if not above[window]:
            active, firing = None, False
            continue
        if active is None:
            active = window
        if not firing and (window - active) * size_s >= for_s:
            firing = True
            found.append(Alarm(active, window))
    return found


def plain(values: Floats, limit: float, first: int) -> list[Alarm]:
    """Returns the alarms of a plain threshold: one whenever the value passes the limit."""
    return prometheus(values, limit, first, for_s=0, size_s=1)


def volume_of(stream: Stream) -> Floats:
    """Returns the posts of each window; NaN during an outage."""
    return np.where(stream.counted, stream.counts, np.nan)


def share_of(stream: Stream, min_posts: int) -> Floats:
    """Returns the percent of the watched label; NaN for a window with fewer posts than `min_posts`."""
    return np.where(stream.counts >= min_posts, stream.share, np.nan)


def usual_limit(values: Floats, first: int, percentile: float) -> float:
    """Returns a percentile of the values of the history; above every value if there are too few of them."""
    known = values[:first][~np.isnan(values[:first])]
    return float(np.percentile(known, percentile)) if len(known) >= 100 else float("inf")
