"""From what bench_servers.py has measured to costs: what posts cost is told from what calls do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.scaling_model import BatchCost


@dataclass(frozen=True)
class KafkaCost:
    """Kafka's part.

    Attributes:
        posts: that were measured.
        us: processor time for a post: two records written, two read.
        raw_bytes: of a raw record in the log.
        classified_bytes: of a classified record in the log.
    """

    posts: int
    us: float
    raw_bytes: float
    classified_bytes: float


@dataclass(frozen=True)
class WindowsCost:
    """What counting costs, in batches of one size to so many shards.

    Attributes:
        batch: posts in it.
        shards: that each is a call to.
        batches: that were applied.
        redis_us: processor time of Redis for a post.
        worker_us: ours, to reduce and send it.
    """

    batch: int
    shards: int
    batches: int
    redis_us: float
    worker_us: float


class Measured(NamedTuple):
    """What a post cost, in batches of one size to so many shards."""

    batch: int
    shards: int
    us: float


def fit(measured: Sequence[Measured]) -> BatchCost:
    """The costs by which each measurement is off by the smallest share, in the mean of squares.

    A post costs what it does in a batch of its size, plus its part of the calls: by_batch + call_us * shards / batch.

    Raises:
        ValueError: there are no different numbers of shards, or the measurements contradict one another.
    """
    if len({one.shards for one in measured}) < 2:
        raise ValueError("calls can be told from posts only with different numbers of shards")
    batches = sorted({one.batch for one in measured})
    terms = np.zeros((len(measured), len(batches) + 1))
    for row, one in zip(terms, measured, strict=True):
        row[batches.index(one.batch)] = 1
        row[-1] = one.shards / one.batch
    weights = 1 / np.array([one.us for one in measured])
    found, *_ = np.linalg.lstsq(terms * weights[:, None], np.ones(len(measured)), rcond=None)
    *by_batch, call_us = (float(us) for us in found)
    if min(found) <= 0:
        raise ValueError("the costs of posts and of calls cannot be told apart in these measurements; give more posts")
    return BatchCost(tuple(zip(batches, by_batch, strict=True)), call_us)


def costs_of(kafka: KafkaCost, windows: Sequence[WindowsCost]) -> dict[str, Any]:
    """What is for benchmarks/scaling_costs.json, without where it was measured.

    Raises:
        ValueError: the costs of posts and of calls cannot be told apart.
    """

    def entry(us: BatchCost) -> dict[str, Any]:
        by_batch = [[batch, round(cost, 1)] for batch, cost in us.by_batch]
        return {"by_batch": by_batch, "call_us": round(us.call_us, 1)}

    counting = [Measured(one.batch, one.shards, one.worker_us) for one in windows]
    return {
        "aggregate": entry(fit(counting)),
        "redis": entry(fit([Measured(one.batch, one.shards, one.redis_us) for one in windows])),
        "broker_us": round(kafka.us, 1),
        "raw_bytes": round(kafka.raw_bytes),
        "classified_bytes": round(kafka.classified_bytes),
    }


def describe(kafka: KafkaCost, windows: Sequence[WindowsCost], costs: Mapping[str, Any] | None) -> str:
    """What was measured, for people."""
    lines = [
        f"Kafka: {kafka.us:.1f} µs a post; {kafka.raw_bytes:.0f} bytes raw and {kafka.classified_bytes:.0f} classified",
        *(
            f"batches of {one.batch:>6,} posts to {one.shards:>4} shards: Redis {one.redis_us:.1f} µs a post, "
            f"the worker {one.worker_us:.1f} µs"
            for one in windows
        ),
    ]
    if costs is not None:
        redis, worker = costs["redis"]["call_us"], costs["aggregate"]["call_us"]
        lines.append(f"of that, for each batch and shard: Redis {redis:.1f} µs, the worker {worker:.1f} µs")
    return "\n".join(lines)
