"""From what a post costs to what an installation needs: the arithmetic of docs/sizing.md. Pure.

A keyword's windows are counted as if its posts came independently of each other: of windows in which m posts of it are
expected, a share of 1 - exp(-m) has one, and a window without a post does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.ops.bench.posts import keyword_weights
from streams.window_sizes import WindowSize
from streams.windows.pacing import intervals_between

UTILIZATION = 0.7
"""Of each core, at most this share is planned for: the rest is for peaks, and for catching up after a restart."""

DAY_S = 86_400


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
        worker_cpu_s: processor seconds of the workers for a post.
        broker_cpu_s: likewise of Kafka: to take the post, for the workers, and for the sink.
        redis_cpu_s: likewise of Redis.
        sink_cpu_s: likewise of the sink.
        postgres_cpu_s: likewise of Postgres.
        worker_bytes: memory of one worker process at its most.
        window_bytes: memory of Redis for a window, by size in seconds.
        post_row_bytes: a post in Postgres, indexes included.
        window_row_bytes: a window in Postgres, its labels and sentiments included.
        raw_bytes: a record of the raw topic in the broker's log.
        classified_bytes: likewise of the classified topic.
        window_record_bytes: likewise of the windows topic.
        keywords_per_post: on average.
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
    """What a size depends on besides the costs.

    Attributes:
        keywords: how many different ones there are.
        sizes: of the windows, and how long each is kept in Redis.
        emit_s: pace of updates to the windows topic, in seconds, of the shortest windows.
        utilization: of each core, planned for.
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
        cores: for the workers, headroom included.
        workers: processes of one core each.
        partitions: of the raw and the classified topic, at least.
        worker_bytes: memory of all workers.
        broker_cores: of Kafka, without headroom and without what other consumers of its topics cost.
        redis_cores: of Redis, without headroom.
        redis_windows: that are kept at once.
        redis_bytes: memory of them.
        sink_cores: of the sink and Postgres together, if it wrote all the time.
        postgres_posts_bytes_per_day: growth of the table of posts.
        postgres_windows_bytes_per_day: likewise of the windows.
        kafka_posts_bytes_per_day: raw and classified records, one copy of each.
        kafka_windows_bytes_per_day: records of the windows topic before it is compacted, one copy of each.
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
    """How many keywords, that of all posts together among them, are expected to have a post.

    Args:
        posts: that are expected in the time in question.
        keywords: how many there are.
        keywords_per_post: on average.
    """
    weights = keyword_weights(keywords)
    mean = posts * keywords_per_post / math.fsum(weights)
    return math.fsum(-math.expm1(-expected) for expected in (posts, *(mean * weight for weight in weights)))


def size_for(rate: float, costs: Costs, assumptions: Assumptions) -> Size:
    """What a rate of posts a second needs; `rate` is above 0."""
    active = {size: _expected_distinct(rate * size.seconds, costs, assumptions) for size in assumptions.sizes}
    # The window that is open, and those that have ended and are kept.
    kept = math.fsum(count * (1 + size.kept_s / size.seconds) for size, count in active.items())
    made_per_day = math.fsum(count * DAY_S / size.seconds for size, count in active.items())
    # A post changes one window of each size for each of its keywords.
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
        # Those of the fullest size, so that it is no less when posts come faster than they came here.
        redis_bytes=kept * max(costs.window_bytes.values()),
        sink_cores=rate * (costs.sink_cpu_s + costs.postgres_cpu_s),
        postgres_posts_bytes_per_day=rate * DAY_S * costs.post_row_bytes,
        postgres_windows_bytes_per_day=made_per_day * costs.window_row_bytes,
        kafka_posts_bytes_per_day=rate * DAY_S * (costs.raw_bytes + costs.classified_bytes),
        kafka_windows_bytes_per_day=updates * DAY_S * costs.window_record_bytes,
    )


def _expected_distinct(posts: float, costs: Costs, assumptions: Assumptions) -> float:
    return expected_distinct(posts, assumptions.keywords, costs.keywords_per_post)


def size_table(rates: Sequence[float], costs: Costs, assumptions: Assumptions) -> Iterator[Size]:
    """A size for each rate, the lowest first; a rate given twice is there once."""
    return (size_for(rate, costs, assumptions) for rate in sorted(set(rates)))
