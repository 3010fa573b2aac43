"""Posts for benchmarks: real texts, the same for every system and every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

from models.text.stated_language import language_of, reads
from models.training.questions import read_sets
from streams.ops.bench.posts import keyword_weights
from streams.records import Keywords, Post, Timestamp

SEED = 7
SOURCES = ("mastodon", "bluesky", "reddit", "rss")
KEYWORDS = 500
SPAN_S = 600
"""Default of the event time from the first post to the last, in seconds."""


@dataclass(frozen=True, slots=True)
class RawPost:
    """A raw post as it is sent: its id, which is the key, and its JSON."""

    id: str
    value: bytes


def read_texts(folder: Path) -> list[str]:
    """Returns the texts of the validation splits in a fixed random order.

    The model was not trained on them. Its first tier would answer known texts too often, which would make it look fast.
    The few texts that emostream takes for another language than English are left out, because no other system does.

    Raises:
        OSError, TrainingError: A file cannot be read.
    """
    texts = [text for text in read_sets(folder, "validation").texts if text.strip()]
    texts = [text for text in texts if reads(["en"], language_of(text, None).code)]
    random.Random(SEED).shuffle(texts)
    return texts


def make_posts(
    texts: Sequence[str], count: int, *, prefix: str = "post", begin: datetime | None = None, span_s: float = SPAN_S
) -> list[RawPost]:
    """Make posts that use the texts in turn. Each has its own id and up to two keywords.

    Keywords are drawn with the weights of `keyword_weights`, so that a few of them are in most posts.

    Args:
        texts: At least one text.
        count: Number of posts.
        prefix: What ids begin with, before the post's number.
        begin: Event time of the first post; None for `span_s` before now.
        span_s: Event time from the first post to the last, in seconds.
    """
    rng = random.Random(SEED)
    names = [f"keyword-{number}" for number in range(KEYWORDS)]
    weights = keyword_weights(KEYWORDS)
    begin = Timestamp.of(begin or datetime.now(UTC) - timedelta(seconds=span_s))
    posts = []
    for number in range(count):
        post = Post(
            id=f"{prefix}-{number}",
            text=texts[number % len(texts)],
            created_at=begin + timedelta(seconds=span_s * number / count),
            source=rng.choice(SOURCES),
            keywords=Keywords.of(rng.choices(names, weights, k=rng.randrange(3))),
        )
        posts.append(RawPost(post.id, post.to_json()))
    return posts


class Supply:
    """The posts of all runs: the same posts in the same order for every system.

    Event time advances at the bare loop's rate, so a run is an excerpt of a stream that keeps one core busy. With ten
    minutes of event time in half a minute's posts, a system would count and publish twenty times as many windows.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Make posts from at least one text."""
        self.texts = texts
        self._rate = 1_000.0  # until `calibrate` sets the measured rate
        self._posts: list[RawPost] = []
        self._begin = datetime.now(UTC)
        self._labels: Sequence[str] = ()

    def first(self, count: int) -> list[RawPost]:
        """Returns the first `count` posts.

        A call for more posts than before makes all posts again, so that the event time of the last one is now.
        """
        if count > len(self._posts):
            span_s = count / self._rate
            self._begin = datetime.now(UTC) - timedelta(seconds=span_s)
            self._posts = make_posts(self.texts, count, begin=self._begin, span_s=span_s)
        return self._posts[:count]

    def warm_up_posts(self, count: int) -> list[RawPost]:
        """Make other posts for the warm-up, whose ids begin with `warm`.

        They have the event time of the first post of `first`. If they were newer, they would make those posts late.
        """
        return make_posts(self.texts, count, prefix="warm", begin=self._begin, span_s=0)

    def calibrate(self, labels: Sequence[str], rate: float) -> None:
        """Set the expected label of each text, in the order of the texts, and the posts for a second of event time."""
        self._labels = labels
        self._rate = rate
        self._posts = []

    def labels(self, count: int) -> dict[str, str]:
        """Returns the expected labels of the first `count` posts, by post id."""
        return {post.id: label for post, label in zip(self.first(count), cycle(self._labels), strict=False)}
