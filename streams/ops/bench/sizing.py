"""Computes what a rate of posts needs from what a post costs, with the formulas of docs/sizing.md. Pure.

The number of windows assumes that the posts of a keyword are independent of each other. If a window is expected to have
m posts of a keyword, it has at least one with the probability 1 - exp(-m). A window without a post does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.ops.bench.posts import keyword_weights
from streams.window_sizes import WindowSize
from streams.windows.pacing import intervals_between

UTILIZATION = 0.7
"""The share of a core that the workers use. The rest is for peaks, and for catching up after a restart."""

DAY_S = 86_400
"""Seconds in a day."""


@dataclass(frozen=True)
class Costs:
    """The measured costs of a post and of a window.

    Attributes:
        worker_cpu_s: processor seconds of the workers for a post.
        broker_cpu_s: processor seconds of Kafka for a post: for its producer, the workers and the sink.
        redis_cpu_s: processor seconds of Redis for a post.
        sink_cpu_s: processor seconds of the sink for a post.
        postgres_cpu_s: processor seconds of Postgres for a post.
        worker_bytes: the largest memory of a worker process.
        window_bytes: memory of Redis for a window, by size in seconds.
        post_row_bytes: bytes of a post in Postgres, indexes included.
        window_row_bytes: bytes of a window in Postgres, with its labels and sentiments.
        raw_bytes: bytes of a record of the raw topic in Kafka's log.
        classified_bytes: bytes of a record of the classified topic in Kafka's log.
        window_record_bytes: bytes of a record of the windows topic in Kafka's log.
        keywords_per_post: the mean number of keywords of a post.
    """

    worker_cpu_s: float
    broker_cpu_s: float
    redis_cpu_s: float
    sink_cpu_s: float
    postgres_cpu_s: float
    worker_bytes: float
    window_bytes: Mapping[int, float]
    post_row_bytes: float
    window_row_bytes: float
    raw_bytes: float
    classified_bytes: float
    window_record_bytes: float
    keywords_per_post: float


@dataclass(frozen=True)
class Assumptions:
    """What a `Size` depends on besides the costs.

    Attributes:
        keywords: the number of different keywords.
        sizes: the window sizes, and how long each is kept in Redis.
        emit_s: seconds between two updates of the shortest windows in the windows topic.
        utilization: the share of a core that the workers use.
    """

    keywords: int
    sizes: Sequence[WindowSize]
    emit_s: float
    utilization: float = UTILIZATION


@dataclass(frozen=True)
class Size:
    """What a rate of posts needs.

    Attributes:
        rate: posts a second.
        cores: cores of the workers, with headroom.
        workers: worker processes, each on one core.
        partitions: the fewest partitions of the raw and the classified topic.
        worker_bytes: memory of all worker processes.
        broker_cores: cores of Kafka, without headroom and without other consumers of its topics.
        redis_cores: cores of Redis, without headroom.
        redis_windows: windows in Redis.
        redis_bytes: memory of the windows in Redis.
        sink_cores: cores of the sink and Postgres together, if the sink writes all the time.
        postgres_posts_bytes_per_day: growth of the table of posts.
        postgres_windows_bytes_per_day: growth of the tables of windows.
        kafka_posts_bytes_per_day: raw and classified records, one replica of each.
        kafka_windows_bytes_per_day: records of the windows topic before compaction, one replica of each.
    """

    rate: float
    cores: float
    workers: int
    partitions: int
    worker_bytes: float
    broker_cores: float
    redis_cores: float
    redis_windows: float
    redis_bytes: float
    sink_cores: float
    postgres_posts_bytes_per_day: float
    postgres_windows_bytes_per_day: float
    kafka_posts_bytes_per_day: float
    kafka_windows_bytes_per_day: float


def expected_distinct(posts: float, keywords: int, keywords_per_post: float) -> float:
    """Returns the expected number of keywords, the keyword `*` included, that have at least one of some posts.

    Args:
        posts: the expected number of posts.
        keywords: the number of different keywords.
        keywords_per_post: the mean number of keywords of a post.
    """
    weights = keyword_weights(keywords)
    mean = posts * keywords_per_post / math.fsum(weights)
    return math.fsum(-math.expm1(-expected) for expected in (posts, *(mean * weight for weight in weights)))


def size_for(rate: float, costs: Costs, assumptions: Assumptions) -> Size:
    """Returns what a rate of posts a second needs; `rate` is above 0."""
    active = {size: _expected_distinct(rate * size.seconds, costs, assumptions) for size in assumptions.sizes}
    # For each keyword: the open window, and the ended ones that are still kept.
    kept = math.fsum(count * (1 + size.kept_s / size.seconds) for size, count in active.items())
    made_per_day = math.fsum(count * DAY_S / size.seconds for size, count in active.items())
    # Each changed window is published once in its interval.
    paces = [assumptions.emit_s * intervals_between(size.seconds) for size in active]
    updates = math.fsum(_expected_distinct(rate * pace, costs, assumptions) / pace for pace in paces)
    cores = rate * costs.worker_cpu_s / assumptions.utilization
    workers = math.ceil(cores)
    return Size(
        rate=rate,
        cores=cores,
        workers=workers,
        partitions=workers,
        worker_bytes=workers * costs.worker_bytes,
        broker_cores=rate * costs.broker_cpu_s,
        redis_cores=rate * costs.redis_cpu_s,
        redis_windows=kept,
        # The size with the largest windows, because windows are fuller if posts come faster than in the measurement.
        redis_bytes=kept * max(costs.window_bytes.values()),
        sink_cores=rate * (costs.sink_cpu_s + costs.postgres_cpu_s),
        postgres_posts_bytes_per_day=rate * DAY_S * costs.post_row_bytes,
        postgres_windows_bytes_per_day=made_per_day * costs.window_row_bytes,
        kafka_posts_bytes_per_day=rate * DAY_S * (costs.raw_bytes + costs.classified_bytes),
        kafka_windows_bytes_per_day=updates * DAY_S * costs.window_record_bytes,
    )


def _expected_distinct(posts: float, costs: Costs, assumptions: Assumptions) -> float:
    return expected_distinct(posts, assumptions.keywords, costs.keywords_per_post)


def sizes_for(rates: Sequence[float], costs: Costs, assumptions: Assumptions) -> Iterator[Size]:
    """Yield what each rate needs, in ascending order and without duplicates."""
    return (size_for(rate, costs, assumptions) for rate in sorted(set(rates)))
