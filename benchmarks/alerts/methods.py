"""The rules that are compared: those of other systems, and those of the alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.alerts.comparators import Alarm, prometheus, share_of, usual_limit, volume_of
from benchmarks.alerts.folding import fold
from benchmarks.alerts.streams import WATCHED, Floats, Stream
from streams.alerts.rules.rule import Change, Condition, EmotionShare, Measure, RobustZScore, Rule, Threshold, Volume

MIN_POSTS = 20
"""Windows with fewer posts are no data for a share, for all methods."""

MIN_VOLUME = 10
"""A volume of fewer posts begins no incident."""

MEASURES: dict[str, Measure] = {"volume": Volume(), "share": EmotionShare(label=WATCHED)}


@dataclass(frozen=True)
class Fixed:
    """A threshold of another system. Its limit is a percentile of the keyword's four weeks before."""

    name: str
    percentile: float
    for_windows: int = 0


@dataclass(frozen=True)
class OurThreshold:
    """A threshold of the alerts with hysteresis. The limits are percentiles of the keyword's four weeks before."""

    name: str
    percentile: float
    clear: float
    for_windows: int


@dataclass(frozen=True)
class Ours:
    """A rule of the alerts for each keyword."""

    name: str
    conditions: dict[str, Condition]
    for_windows: int


Method = Fixed | OurThreshold | Ours

METHODS: dict[int, list[Method]] = {
    3_600: [
        Fixed("plain threshold at the 99.9th percentile", 99.9),
        Fixed("Prometheus, 99th percentile, for: 2h", 99, 2),
        OurThreshold("threshold with hysteresis, 99.9th percentile", 99.9, 95, 1),
        Ours("change by 75 %, by 10 points", {"volume": Change(by=75), "share": Change(by=10)}, 2),
        Ours("z-score 4 (recommended)", {"volume": RobustZScore(z=4), "share": RobustZScore(z=4)}, 1),
        Ours("z-score 4, for_windows 2", {"volume": RobustZScore(z=4), "share": RobustZScore(z=4)}, 2),
    ],
    300: [
        Fixed("plain threshold at the 99.9th percentile", 99.9),
        Fixed("Prometheus, 99th percentile, for: 15m", 99, 3),
        OurThreshold("threshold with hysteresis, 99.9th percentile", 99.9, 95, 3),
        Ours("change by 75 %, by 10 points", {"volume": Change(by=75), "share": Change(by=10)}, 3),
        Ours("z-score 4", {"volume": RobustZScore(z=4), "share": RobustZScore(z=4)}, 1),
        Ours("z-score 4, for_windows 2", {"volume": RobustZScore(z=4), "share": RobustZScore(z=4)}, 2),
    ],
}
"""By the size of the windows in seconds."""


def rule(number: int, measure: str, size_s: int, method: Ours) -> Rule:
    """Returns a rule for each keyword."""
    return Rule(
        id=f"r{number}-{measure}",
        name=method.name,
        keywords="each",
        window_s=size_s,
        measure=MEASURES[measure],
        condition=method.conditions[measure],
        min_posts=MIN_POSTS if measure == "share" else MIN_VOLUME,
        for_windows=method.for_windows,
    )


def alarms(
    methods: Sequence[Method], streams: Sequence[Stream], measures: Sequence[str] = ("volume", "share")
) -> dict[tuple[str, str], list[list[Alarm]]]:
    """Returns the alarms of each method, by name and measure, for each stream."""
    size = streams[0].size_s
    found: dict[tuple[str, str], list[list[Alarm]]] = {}
    rules: dict[str, tuple[str, str]] = {}
    made: list[Rule] = []
    for number, method in enumerate(methods):
        for measure in measures:
            if isinstance(method, Ours):
                made.append(rule(number, measure, size, method))
                rules[made[-1].id] = (method.name, measure)
            elif isinstance(method, Fixed):
                found[method.name, measure] = [_fixed(method, measure, stream) for stream in streams]
            else:
                found[method.name, measure] = _with_hysteresis(method, measure, streams)
    if made:
        found.update({rules[id_]: of_streams for id_, of_streams in fold(made, streams).items()})
    return found


def _values(measure: str, stream: Stream) -> Floats:
    return volume_of(stream) if measure == "volume" else share_of(stream, MIN_POSTS)


def _fixed(method: Fixed, measure: str, stream: Stream) -> list[Alarm]:
    values = _values(measure, stream)
    limit = usual_limit(values, stream.first, method.percentile)
    return prometheus(values, limit, stream.first, for_s=method.for_windows * stream.size_s, size_s=stream.size_s)


def _with_hysteresis(method: OurThreshold, measure: str, streams: Sequence[Stream]) -> list[list[Alarm]]:
    """Returns the alarms of a rule for each stream, because each keyword has limits of its own."""
    rules = []
    for stream in streams:
        values = _values(measure, stream)
        limit = usual_limit(values, stream.first, method.percentile)
        clear = usual_limit(values, stream.first, method.clear)
        if limit == float("inf"):
            continue
        rules.append(
            Rule(
                id=f"t-{stream.keyword}",
                name=method.name,
                keywords=(stream.keyword,),
                window_s=stream.size_s,
                measure=MEASURES[measure],
                condition=Threshold(limit=limit, clear=clear),
                min_posts=MIN_POSTS if measure == "share" else MIN_VOLUME,
                for_windows=method.for_windows,
            )
        )
    found = fold(rules, streams) if rules else {}
    none: list[list[Alarm]] = [[] for _ in streams]
    return [found.get(f"t-{stream.keyword}", none)[number] for number, stream in enumerate(streams)]
