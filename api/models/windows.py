"""Windows, keywords and posts."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from api.models.base import ApiModel


class WindowLabel(ApiModel):
    """One label of a window: number of posts, their share in percent, and their mean confidence."""

    count: int
    pct: float
    mean_confidence: float


class WindowSentiment(ApiModel):
    """The sentiment of a window: number of posts by label, and the mean, from -1 to 1."""

    labels: dict[str, int]
    mean_sentiment: float


class Window(ApiModel):
    """A tumbling window, as on the topic `emotions.windows`."""

    keyword: str
    size: int = Field(description="Seconds from `start` to `end`.")
    start: AwareDatetime
    end: AwareDatetime
    count: int = Field(description="Number of posts that have a label.")
    unsupported: int = Field(description="Number of posts in languages that no model reads.")
    labels: dict[str, WindowLabel]
    sentiment: WindowSentiment | None
    models: dict[str, int]
    sources: dict[str, int]
    languages: dict[str, int]
    first_event: AwareDatetime
    last_event: AwareDatetime
    revision: int
    final: bool
    late: int


class WindowsAnswer(ApiModel):
    """The windows of a keyword: the latest end first, then the shorter size."""

    windows: list[Window]


class ClassifiedPost(ApiModel):
    """A post of the history."""

    id: str
    source: str
    keywords: list[str]
    created_at: AwareDatetime
    text: str | None
    lang: str | None
    url: str | None
    label: str | None
    confidence: float | None
    sentiment: str | None
    sentiment_score: float | None


class PostsAnswer(ApiModel):
    """Posts, the newest first."""

    posts: list[ClassifiedPost]
    next_before: str | None = Field(description="`before` of the next page; null on the last one.")


class KeywordCount(ApiModel):
    """A keyword with its posts."""

    keyword: str
    count: int = Field(description="Posts in the latest window.")
    unsupported: int
    labels: dict[str, int]
    mean_sentiment: float | None
    rise: float | None = Field(None, description="How many times as many posts as expected; only in order of rising.")


class KeywordsAnswer(ApiModel):
    """Keywords in the order that was asked for."""

    start: AwareDatetime | None
    end: AwareDatetime | None
    keywords: list[KeywordCount]


class ServedHead(ApiModel):
    """A question that a model answers."""

    name: str
    labels: list[str]


class ServedModelInfo(ApiModel):
    """A model that serves."""

    name: str
    version: str
    languages: list[str]
    configured_for: list[str] = Field(description="Languages that this model was configured for; empty: the main one.")
    heads: list[ServedHead]
    tiers: list[str]


class ModelAnswer(ApiModel):
    """The models that serve, the main one first."""

    channel: str
    models: list[ServedModelInfo]
