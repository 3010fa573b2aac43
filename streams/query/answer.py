"""An answer: what people feel about a keyword, where the answer comes from, and what it lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from streams.query.question import Question
from streams.query.shares import percentages
from streams.query.sums import LabelSum, Sums
from streams.records import Record, Timestamp

AnswerSource = Literal["cache", "windows", "history", "inference"]


class LabelShare(Record, frozen=True):
    """The posts with one label.

    Attributes:
        label: the label.
        count: how many posts have it.
        pct: their share of all posts with a label, in percent with two decimals. The shares of all labels add up to
            100, or are all 0 if no post has a label.
        avg_score: the mean confidence of the model in them, 0 to 1 with four decimals; None if there is no such post.
    """

    label: str
    count: int
    pct: float
    avg_score: float | None


class SentimentShare(Record, frozen=True):
    """The posts with one sentiment label, and their share of the posts that have a sentiment, as in `LabelShare`."""

    label: str
    count: int
    pct: float


class SentimentSummary(Record, frozen=True):
    """The sentiment of the posts that have one: a row for each label with posts, and the mean score in -1..1."""

    labels: list[SentimentShare]
    mean: float


class Answer(Record, frozen=True, kw_only=True):
    """What people feel about a keyword.

    Attributes:
        keyword: the keyword; `*` for all posts.
        count: how many posts have a label. An unknown keyword has none.
        agg: a row for each label: first those of the serving models, in their order, then others that posts have, in
            alphabetical order.
        sentiment: the sentiment of these posts; None if none has one.
        unsupported: posts without a label, because no model reads their language. `count` does not include them.
        source: where the answer comes from: `windows` for the window tables in Redis, `history` if part of it comes
            from Postgres, `inference` for posts that were searched and classified for it, `cache` for an earlier
            answer.
        as_of: the event time up to which posts have been counted; None if nobody knows. Later posts may be missing.
        since: posts created from this time on are counted. It is the start of a window, so it may be somewhat earlier
            than was asked for, or later if the earlier posts cannot be read.
        complete: whether all posts from `since` to `as_of` that the stream has counted are in the answer.
        notes: a sentence for each reason why it is not complete, and for what was left out.
    """

    keyword: str
    count: int
    agg: list[LabelShare]
    sentiment: SentimentSummary | None
    unsupported: int
    source: AnswerSource
    as_of: Timestamp | None
    since: Timestamp
    complete: bool
    notes: list[str]


def make_answer(
    question: Question,
    sums: Sums,
    *,
    labels: Sequence[str],
    source: AnswerSource,
    as_of: Timestamp | None,
    since: Timestamp,
    complete: bool = True,
    notes: Iterable[str] = (),
) -> Answer:
    """Returns the answer to a question.

    Args:
        question: the question.
        sums: what was counted.
        labels: the labels of the serving models. Each has a row, with or without posts.
        source: see `Answer`, as for the arguments that follow.
        as_of: see `Answer`.
        since: see `Answer`.
        complete: see `Answer`.
        notes: see `Answer`.
    """
    return Answer(
        keyword=question.keyword,
        count=sums.count,
        agg=label_shares(sums, labels),
        sentiment=_sentiment(sums),
        unsupported=sums.unsupported,
        source=source,
        as_of=as_of,
        since=since,
        complete=complete,
        notes=list(dict.fromkeys(notes)),
    )


def label_shares(sums: Sums, labels: Sequence[str]) -> list[LabelShare]:
    """Returns a row for each of `labels`, in their order, and then for each other label of `sums`, sorted by name."""
    names = dict.fromkeys([*labels, *sorted(sums.labels)])
    by_name = {name: sums.labels.get(name, LabelSum(0, 0.0)) for name in names}
    pct = percentages({name: label.posts for name, label in by_name.items()})
    return [LabelShare(name, label.posts, pct[name], _mean_confidence(label)) for name, label in by_name.items()]


def _mean_confidence(label: LabelSum) -> float | None:
    return _rounded(label.confidence / label.posts, 0.0, 1.0) if label.posts else None


def _sentiment(sums: Sums) -> SentimentSummary | None:
    counts = {label: posts for label, posts in sorted(sums.sentiments.items()) if posts}
    if not counts:
        return None
    pct = percentages(counts)
    return SentimentSummary(
        [SentimentShare(label, posts, pct[label]) for label, posts in counts.items()],
        _rounded(sums.sentiment_score / sum(counts.values()), -1.0, 1.0),
    )


def _rounded(mean: float, lowest: float, highest: float) -> float:
    """Returns a mean to four decimals, within its bounds in spite of errors of rounding, and never -0.0."""
    return round(min(max(mean, lowest), highest), 4) + 0.0
