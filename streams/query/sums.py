"""What is counted for an answer: posts by label and by sentiment, with sums from which means follow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self


class LabelSum(NamedTuple):
    """The posts with one label.

    Attributes:
        posts: how many there are.
        confidence: the sum of their confidences, each 0 to 1.
    """

    posts: int
    confidence: float


@dataclass(frozen=True)
class Sums:
    """Sums over posts of one keyword. `Sums()` is the sum over no posts.

    Attributes:
        labels: the posts with each label. A label without posts may be there too.
        sentiments: the number of posts with each sentiment label. Posts without a sentiment are in none.
        sentiment_score: the sum of the sentiment scores of these posts, each -1 to 1.
        unsupported: posts without a label, because no model reads their language. They are in no other field.
    """

    labels: Mapping[str, LabelSum] = field(default_factory=dict)
    sentiments: Mapping[str, int] = field(default_factory=dict)
    sentiment_score: float = 0.0
    unsupported: int = 0

    @property
    def count(self) -> int:
        """The number of posts with a label."""
        return sum(label.posts for label in self.labels.values())

    @classmethod
    def total(cls, parts: Iterable[Sums]) -> Self:
        """Returns the sum of several sums, which must count no post twice."""
        labels: dict[str, LabelSum] = {}
        sentiments: dict[str, int] = {}
        score, unsupported = 0.0, 0
        for part in parts:
            for label, (posts, confidence) in part.labels.items():
                known = labels.get(label, LabelSum(0, 0.0))
                labels[label] = LabelSum(known.posts + posts, known.confidence + confidence)
            for label, posts in part.sentiments.items():
                sentiments[label] = sentiments.get(label, 0) + posts
            score += part.sentiment_score
            unsupported += part.unsupported
        return cls(labels, sentiments, score, unsupported)
