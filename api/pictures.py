"""The picture of an answer."""

from __future__ import annotations

from streams.charts.emotion_pie import emotion_pie
from streams.charts.render import render
from streams.charts.shares import Facts, Share
from streams.query.answer import Answer


def draw(answer: Answer) -> bytes:
    """Returns the emotions of an answer as a ring, in a PNG of 800 by 500 pixels."""
    shares = [Share(row.label, row.pct, row.count) for row in answer.agg]
    facts = Facts(answer.keyword, posts=answer.count, since=answer.since, as_of=answer.as_of)
    return render(emotion_pie(shares, facts), "png")
