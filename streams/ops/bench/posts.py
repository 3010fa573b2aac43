"""Makes the posts for a measurement: texts of sample posts, with new ids and random keywords. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from streams.records import EARLIEST, Keywords, Post, Timestamp

SEED = 7
"""Seed of the random keywords, so that every run has the same posts."""

SPAN_S = 600
"""Seconds of event time between the first and the last post of a run."""


def keyword_weights(count: int) -> list[float]:
    """Returns the relative frequency of each of `count` keywords: a few are in most posts, as with words in texts."""
    return [1 / (rank + 10) for rank in range(count)]


def make_posts(samples: Sequence[Post], count: int, *, keywords: int, end: datetime) -> Iterator[Post]:
    """Yield posts like the samples. The posts are the same for the same arguments.

    A post has as many keywords as its sample, drawn from `keywords` names; a name that is drawn twice counts once. If
    no sample has keywords, each post has one.

    Args:
        samples: at least one post; they are used in order, and then from the first one again.
        count: the number of posts.
        keywords: the number of different keywords.
        end: the event times are in the `SPAN_S` seconds before this time.
    """
    rng = random.Random(SEED)  # noqa: S311 - not for secrets
    names = [f"keyword-{number}" for number in range(keywords)]
    weights = keyword_weights(keywords)
    bare = not any(sample.keywords for sample in samples)
    begin, step = Timestamp.of(end) - timedelta(seconds=SPAN_S), timedelta(seconds=SPAN_S) / count
    for number in range(count):
        sample = samples[number % len(samples)]
        drawn = rng.choices(names, weights, k=1 if bare else len(sample.keywords))
        yield replace(sample, id=f"bench-{number}", created_at=begin + step * number, keywords=Keywords.of(drawn))


def mean_keywords(samples: Sequence[Post], keywords: int) -> float:
    """Returns the mean number of keywords of the posts that `make_posts` makes, from one post for each sample."""
    posts = make_posts(samples, len(samples), keywords=keywords, end=EARLIEST)
    return sum(len(post.keywords) for post in posts) / len(samples)
