"""A question about a keyword, and its answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from api.models.base import ApiModel, Keyword, Moment

MAX_LIMIT = 500
"""The most posts that a question may ask for."""


PlotKind = Literal["pie", "bar"]
PlotFormat = Literal["png", "svg"]


class AnswerSource(StrEnum):
    """Where an answer comes from."""

    CACHE = "cache"
    WINDOWS = "windows"
    HISTORY = "history"
    INFERENCE = "inference"


class QueryRequest(ApiModel):
    """A question: what do people feel about a keyword?"""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"keyword": "coffee"}, {"keyword": "coffee", "since": "2026-03-01T00:00:00Z"}]}
    )

    keyword: Keyword = Field(description="The keyword, taken literally; `*` stands for all posts.")
    limit: int = Field(
        250, ge=1, le=MAX_LIMIT, description="With fewer posts than this in the windows, sources are searched for more."
    )
    since: Moment | None = Field(
        None, description="The beginning of the time that the answer is about; by default 24 hours ago."
    )
    return_plot: bool = Field(False, description="Whether the answer has a picture.")
    plot_kind: PlotKind = Field("pie", description="A ring, or a stacked bar.")
    plot_format: PlotFormat = Field("png", description="The format of the picture.")


class LabelShare(ApiModel):
    """One label of an answer."""

    label: str
    count: int
    pct: float = Field(description="Share of the posts with a label, in percent. The shares add up to 100.")
    avg_score: float | None = Field(description="Mean confidence of these posts, 0 to 1; null without posts.")


class SentimentShare(ApiModel):
    """The posts with one sentiment label, and their share of the posts with a sentiment, in percent."""

    label: str
    count: int
    pct: float


class SentimentSummary(ApiModel):
    """The sentiment of the posts of an answer."""

    labels: list[SentimentShare]
    mean: float = Field(description="Mean sentiment, from -1 to 1.")


class QueryAnswer(ApiModel):
    """What people feel about a keyword."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "keyword": "coffee",
                    "count": 412,
                    "agg": [
                        {"label": "joy", "count": 253, "pct": 61.41, "avg_score": 0.8731},
                        {"label": "anger", "count": 159, "pct": 38.59, "avg_score": 0.7912},
                    ],
                    "sentiment": {"labels": [{"label": "positive", "count": 412, "pct": 100.0}], "mean": 0.9612},
                    "plot_base64": None,
                    "source": "windows",
                    "as_of": "2026-03-02T12:00:00.000Z",
                    "since": "2026-03-01T12:00:00.000Z",
                    "complete": True,
                    "unsupported": 3,
                    "notes": [],
                    "time": 0.0042,
                }
            ]
        }
    )

    keyword: str
    count: int = Field(description="Number of posts that have a label.")
    agg: list[LabelShare] = Field(description="A row for every label, also for those without posts.")
    sentiment: SentimentSummary | None = Field(description="Null if no post has a sentiment.")
    plot_base64: str | None = Field(description="A picture in base64, if the request asked for it.")
    source: AnswerSource
    as_of: AwareDatetime | None = Field(description="The time up to which posts were counted; null if unknown.")
    since: AwareDatetime = Field(description="The beginning of the time that the answer is about.")
    complete: bool = Field(description="Whether all posts were counted; `notes` says what is missing.")
    unsupported: int = Field(description="Number of posts in languages that no model reads. `count` leaves them out.")
    notes: list[str] = Field(description="What the reader should know, such as servers that did not answer.")
    time: float = Field(description="Seconds that the service needed.")
