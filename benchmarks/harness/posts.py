"""Posts for a benchmark: real texts, the same for every system and every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

from models.training.questions import read_sets
from streams.ops.bench.posts import keyword_weights
from streams.records import Keywords, Post, Timestamp

SEED = 7
SOURCES = ("mastodon", "bluesky", "reddit", "rss")
KEYWORDS = 500
SPAN_S = 600
"""Seconds of event time that posts span where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A post as it is sent."""

    id: str
    value: bytes


def read_texts(folder: Path) -> list[str]:
    """The validation splits' texts, shuffled: none that the model was trained on, whose answers would come too cheaply.

    Raises:
        OSError, TrainingError: A file cannot be read.
    """
    texts = [text for text in read_sets(folder, "validation").texts if text.strip()]
    random.Random(SEED).shuffle(texts)
    return texts


def make_posts(
    texts: Sequence[str], count: int, *, prefix: str = "post", begin: datetime | None = None, span_s: float = SPAN_S
) -> list[Raw]:
    """Posts with these texts in turn, each with an id of its own and up to two keywords; a few are in most of them.

    Args:
        texts: at least one.
        count: of posts.
        prefix: of the ids, before their number.
        begin: event time of the first; None for `span_s` ago.
        span_s: seconds of event time from the first to the last.
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
        posts.append(Raw(post.id, post.to_json()))
    return posts


class Supply:
    """The posts of all runs: always the same ones in the same order, as many as are asked for.

    Their event time passes as fast as the model alone classifies. So a run is an excerpt of a stream that keeps a core
    busy: were ten minutes of it in half a minute's posts, twenty times as many windows would be counted and published.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """With at least one text."""
        self.texts = texts
        self._rate = 1_000.0  # until `learn` knows better
        self._posts: list[Raw] = []
        self._begin = datetime.now(UTC)
        self._labels: Sequence[str] = ()

    def first(self, count: int) -> list[Raw]:
        """The first `count` posts. The newest of all is as old as the call that first asked for so many."""
        if count > len(self._posts):
            span_s = count / self._rate
            self._begin = datetime.now(UTC) - timedelta(seconds=span_s)
            self._posts = make_posts(self.texts, count, begin=self._begin, span_s=span_s)
        return self._posts[:count]

    def warm_up(self, count: int) -> list[Raw]:
        """Others to begin with, whose ids begin with `warm`.

        They are as old as the first of those that were asked for, or they would make those late.
        """
        return make_posts(self.texts, count, prefix="warm", begin=self._begin, span_s=0)

    def learn(self, labels: Sequence[str], rate: float) -> None:
        """Take the right label of each text, in their order, and the posts a second of event time from now on."""
        self._labels = labels
        self._rate = rate
        self._posts = []

    def labels(self, count: int) -> dict[str, str]:
        """The right labels of the first posts, by id."""
        return {post.id: label for post, label in zip(self.first(count), cycle(self._labels), strict=False)}
