"""Counts false alarms, detections and delays. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.alerts.comparators import Alarm
from benchmarks.alerts.streams import LASTS_H, Stream


@dataclass(frozen=True)
class FalseAlarms:
    """Alarms of streams in which nothing happens.

    Attributes:
        alarms: Their number.
        keyword_weeks: Weeks that were evaluated, added up over the keywords.
        worst: The most alarms of one keyword.
    """

    alarms: int
    keyword_weeks: float
    worst: int

    @property
    def per_week_of_100(self) -> float:
        """Alarms in a week of a hundred keywords."""
        return 100 * self.alarms / self.keyword_weeks


@dataclass(frozen=True)
class Detection:
    """What a rule makes of changes at a known time.

    Attributes:
        changes: The number of streams with a change.
        detected: Those with an alarm in the time in which one counts.
        delay_median_s: Median seconds from the onset to the end of the window with which the alarm is certain; None if
            none was detected.
        delay_p90_s: The 90th percentile of it.
        announcements: Alarms for each detected change, on average. One is right.
    """

    changes: int
    detected: int
    delay_median_s: float | None
    delay_p90_s: float | None
    announcements: float


def false_alarms(streams: Sequence[Stream], alarms: Iterable[Sequence[Alarm]]) -> FalseAlarms:
    """Returns the alarms of streams in which nothing happens."""
    numbers = [len(found) for found in alarms]
    seconds = sum((len(stream.counts) - stream.first) * stream.size_s for stream in streams)
    return FalseAlarms(sum(numbers), seconds / 604_800, max(numbers, default=0))


def detection(streams: Sequence[Stream], alarms: Iterable[Sequence[Alarm]]) -> Detection:
    """Returns how soon the changes were detected.

    An alarm counts if it is decided after the onset, within the time that `LASTS_H` gives the kind of change. So an
    alarm that is open since before the onset hides the change.
    """
    delays: list[float] = []
    announced = 0
    for stream, found in zip(streams, alarms, strict=True):
        until = stream.onset + LASTS_H[stream.kind] * 3_600 // stream.size_s
        counting = [alarm for alarm in found if stream.onset <= alarm.decided < max(until, stream.onset + 1)]
        if counting:
            delays.append((counting[0].decided + 1 - stream.onset) * stream.size_s)
            announced += len(counting)
    if not delays:
        return Detection(len(streams), 0, None, None, 0.0)
    ranked = sorted(delays)
    p90 = ranked[min(len(ranked) - 1, int(0.9 * len(ranked)))]
    return Detection(len(streams), len(delays), statistics.median(delays), p90, announced / len(delays))
