"""The picture of an answer."""

from __future__ import annotations

from typing import NamedTuple

from api.models.query import PlotFormat, PlotKind
from streams.charts.emotion_bars import Bar, emotion_bars
from streams.charts.emotion_pie import emotion_pie
from streams.charts.render import render
from streams.charts.shares import Facts, Share
from streams.query.answer import Answer


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
