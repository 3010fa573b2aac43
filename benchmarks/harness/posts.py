"""Posts for a benchmark: real texts, the same for every system and every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.training.questions import read_sets
from streams.bench.posts import keyword_weights
from streams.records import Post

SEED = 7
SOURCES = ("mastodon", "bluesky", "reddit", "rss")
KEYWORDS = 500
SPAN_S = 600
"""Seconds of event time that the posts of a run span."""


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


def make_posts(texts: Sequence[str], count: int, *, prefix: str = "post") -> list[Raw]:
    """Posts with these texts in turn, each with an id of its own and up to two keywords; a few are in most of them."""
    rng = random.Random(SEED)
    names = [f"keyword-{number}" for number in range(KEYWORDS)]
    weights = keyword_weights(KEYWORDS)
    begin = datetime.now(UTC) - timedelta(seconds=SPAN_S)
    posts = []
    for number in range(count):
        post = Post(
            id=f"{prefix}-{number}",
            text=texts[number % len(texts)],
            created_at=begin + timedelta(seconds=SPAN_S * number / count),
            source=rng.choice(SOURCES),
            keywords=tuple(dict.fromkeys(rng.choices(names, weights, k=rng.randrange(3)))),
        )
        posts.append(Raw(post.id, post.model_dump_json(exclude_none=True).encode()))
    return posts
