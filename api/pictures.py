"""The pictures of answers and of incidents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from api.models.query import PlotFormat, PlotKind
from models.errors import OverloadedError
from streams.alerts.storage.stored import Incident
from streams.charts.alert_chart import alert_chart
from streams.charts.emotion_bars import Bar, emotion_bars
from streams.charts.emotion_pie import emotion_pie
from streams.charts.render import render
from streams.charts.shares import Facts, Share
from streams.query.answer import Answer

MOST_DRAWINGS = 32
"""The most pictures of a process that are drawn or wait for it. One is drawn at a time, in some 0.1 seconds."""


class Drawings:
    """Draws pictures one at a time, in threads. Tasks of one event loop may share it."""

    def __init__(self) -> None:
        """Create it; nothing is drawn yet."""
        self._drawing = asyncio.Semaphore(1)
        self._number = 0

    async def draw(self, make: Callable[[], bytes]) -> bytes:
        """Returns what `make` returns, which is called in a thread.

        Raises:
            OverloadedError: `MOST_DRAWINGS` pictures are drawn or wait for it.
        """
        if self._number >= MOST_DRAWINGS:
            raise OverloadedError(f"{self._number} pictures are drawn or wait for it", self._number * 0.1)
        self._number += 1
        try:
            async with self._drawing:
                return await asyncio.to_thread(make)
        finally:
            self._number -= 1


class PictureKind(NamedTuple):
    """What a picture is: a ring or a stacked bar, and its format."""

    kind: PlotKind
    format: PlotFormat


def draw(answer: Answer, wanted: PictureKind) -> bytes:
    """Returns a picture of the emotions of an answer, 800 pixels wide."""
    shares = [Share(row.label, row.pct, row.count) for row in answer.agg]
    facts = Facts(answer.keyword, posts=answer.count, since=answer.since, as_of=answer.as_of)
    if wanted.kind == "pie":
        return render(emotion_pie(shares, facts), wanted.format)
    return render(emotion_bars([Bar(facts, shares)], title="Emotions", subtitle=facts.time), wanted.format)


def draw_incident(incident: Incident) -> bytes:
    """Returns the chart of an incident as PNG, 800 pixels wide."""
    return render(alert_chart(incident.record("opened", at=incident.found_at)), "png")
