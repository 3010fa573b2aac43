"""Posts for a measurement: the texts of some real ones in turn, each with an id and keywords of its own. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from streams.records import EARLIEST, Keywords, Post, Timestamp

SEED = 7
SPAN_S = 600
"""Seconds of event time that the posts of a run span."""


def keyword_weights(count: int) -> list[float]:
    """How often each of so many keywords occurs, relative to the others: a few are in most posts, as words in texts."""
    return [1 / (rank + 10) for rank in range(count)]


def make_posts(samples: Sequence[Post], count: int, *, keywords: int, end: datetime) -> Iterator[Post]:
    """Posts like the samples, the same again for the same arguments.

    Each has as many keywords as its sample, drawn out of `keywords` names (a name drawn twice is there once); one where
    no sample has any, because then nobody has chosen keywords yet.

    Args:
        samples: at least one; taken in turn.
        count: how many posts.
        keywords: how many names there are.
        end: the posts span `SPAN_S` seconds before it.
    """
    rng = random.Random(SEED)  # noqa: S311 - to be the same every time
    names = [f"keyword-{number}" for number in range(keywords)]
    weights = keyword_weights(keywords)
    bare = not any(sample.keywords for sample in samples)
    begin, step = Timestamp.of(end) - timedelta(seconds=SPAN_S), timedelta(seconds=SPAN_S) / count
    for number in range(count):
        sample = samples[number % len(samples)]
        drawn = rng.choices(names, weights, k=1 if bare else len(sample.keywords))
        yield replace(sample, id=f"bench-{number}", created_at=begin + step * number, keywords=Keywords.of(drawn))


def mean_keywords(samples: Sequence[Post], keywords: int) -> float:
    """How many keywords the posts made of the samples have on average: those of the first turn do."""
    posts = make_posts(samples, len(samples), keywords=keywords, end=EARLIEST)
    return sum(len(post.keywords) for post in posts) / len(samples)
