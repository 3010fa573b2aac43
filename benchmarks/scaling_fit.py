"""Computes costs from the measurements of bench_servers.py, separately for posts and for calls. Pure.

A call is what a batch does to one shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.scaling_model import BatchCost


@dataclass(frozen=True)
class KafkaCost:
    """What a post costs Kafka.

    Attributes:
        posts: Posts that were measured.
        us: Processor time for a post in microseconds: two records written, and two read.
        raw_bytes: Bytes of a raw record in the log.
        classified_bytes: Bytes of a classified record in the log.
    """

    posts: int
    us: float
    raw_bytes: float
    classified_bytes: float


@dataclass(frozen=True)
class WindowsCost:
    """What counting a post costs, for one batch size and one number of shards.

    Attributes:
        batch: Posts in a batch.
        shards: Number of shards. Each batch calls every shard.
        batches: Batches that were applied.
        redis_us: Processor time of Redis for a post, in microseconds.
        worker_us: Processor time of the worker to reduce and send a post, in microseconds.
    """

    batch: int
    shards: int
    batches: int
    redis_us: float
    worker_us: float


class BatchMeasurement(NamedTuple):
    """The microseconds that a post cost, for one batch size and one number of shards."""

    batch: int
    shards: int
    us: float


def fit(measured: Sequence[BatchMeasurement]) -> BatchCost:
    """Returns the costs with the smallest mean square of the relative errors.

    The model of a measurement is `by_batch[batch] + call_us * shards / batch`.

    Raises:
        ValueError: All measurements have the same number of shards, or a fitted cost is not positive.
    """
    if len({measurement.shards for measurement in measured}) < 2:
        raise ValueError("the cost of a call can be computed only from different numbers of shards")
    batches = sorted({measurement.batch for measurement in measured})
    terms = np.zeros((len(measured), len(batches) + 1))
    for row, measurement in zip(terms, measured, strict=True):
        row[batches.index(measurement.batch)] = 1
        row[-1] = measurement.shards / measurement.batch
    weights = 1 / np.array([measurement.us for measurement in measured])
    found, *_ = np.linalg.lstsq(terms * weights[:, None], np.ones(len(measured)), rcond=None)
    *by_batch, call_us = (float(us) for us in found)
    if min(found) <= 0:
        raise ValueError("the costs of posts and of calls cannot be separated in these measurements; use more posts")
    return BatchCost(tuple(zip(batches, by_batch, strict=True)), call_us)


def costs_of(kafka: KafkaCost, windows: Sequence[WindowsCost]) -> dict[str, Any]:
    """Returns the costs for benchmarks/scaling_costs.json, without the places where they were measured.

    Raises:
        ValueError: The costs of posts and of calls cannot be separated.
    """

    def entry(us: BatchCost) -> dict[str, Any]:
        by_batch = [[batch, round(cost, 1)] for batch, cost in us.by_batch]
        return {"by_batch": by_batch, "call_us": round(us.call_us, 1)}

    counting = [BatchMeasurement(one.batch, one.shards, one.worker_us) for one in windows]
    return {
        "aggregate": entry(fit(counting)),
        "redis": entry(fit([BatchMeasurement(one.batch, one.shards, one.redis_us) for one in windows])),
        "broker_us": round(kafka.us, 1),
        "raw_bytes": round(kafka.raw_bytes),
        "classified_bytes": round(kafka.classified_bytes),
    }


def describe(kafka: KafkaCost, windows: Sequence[WindowsCost], costs: Mapping[str, Any] | None) -> str:
    """Returns the measurements and the costs as text."""
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
        lines.append(f"of which each call of a batch to a shard: Redis {redis:.1f} µs, the worker {worker:.1f} µs")
    return "\n".join(lines)
