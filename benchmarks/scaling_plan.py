"""Finds the smallest fleet for a rate of posts. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from benchmarks.scaling_model import LARGEST_BATCH, Costs, Fleet, Machines, capacities, effective_holders
from streams.ops.bench.posts import keyword_weights
from streams.records import ALL_KEYWORDS
from streams.window_sizes import WindowSize
from streams.windows.tumbling import shard_of

MAX_SHARDS = 1_024
"""The largest number of shards that EMOSTREAM_SHARDS allows."""

_SHARDS_PER_MASTER = (4, 3, 2, 1)
"""Numbers of shards for each master that `plan` compares, in order of preference. With several shards, a new master can
take over some of them; but every batch calls each shard."""

_FRESHNESS = 0.05
"""Windows that are fresher may cost this share more cores than the cheapest fleet."""


@dataclass(frozen=True)
class WindowTables:
    """The window tables in Redis, and which windows posts change.

    Attributes:
        keywords: Number of keywords. Posts have them with the weights of `keyword_weights`.
        per_post: Keywords of a post, on average.
        sizes: The window sizes.
    """

    keywords: int
    per_post: float
    sizes: Sequence[WindowSize]

    @cached_property
    def _hashes(self) -> npt.NDArray[np.int64]:
        """The hash of each keyword, which determines its shard. The first is that of `ALL_KEYWORDS`."""
        names = (ALL_KEYWORDS, *(f"keyword-{number}" for number in range(self.keywords)))
        return np.array([shard_of(name, 2**32) for name in names], np.int64)

    @cached_property
    def _posts_per_keyword(self) -> npt.NDArray[np.float64]:
        """How often each keyword of `_hashes` occurs in a post, on average; infinite for `ALL_KEYWORDS`."""
        weights = np.array(keyword_weights(self.keywords), np.float64)
        return np.concatenate(([np.inf], self.per_post * weights / weights.sum()))

    def busiest(self, batch: float, holders: int) -> float:
        """Returns which share of the windows that a batch changes is in the busiest holder.

        Holders are shards, or masters if their number divides that of the shards, which are assigned in turn.
        """
        changed = -np.expm1(-batch * self._posts_per_keyword)
        return float(np.bincount(self._hashes % holders, changed).max() / changed.sum())

    def fullest(self, holders: int) -> float:
        """Returns the windows in the fullest of `holders` shards or masters, if every keyword has all its windows."""
        per_keyword = math.fsum(1 + size.kept_s / size.seconds for size in self.sizes)  # the open window and kept ones
        return float(np.bincount(self._hashes % holders).max() * per_keyword)


def batch_of(rate: float, workers: int, wait_s: float) -> int:
    """Returns the posts in a worker's batch for the windows, if the batch fills for `wait_s` seconds."""
    return max(1, min(LARGEST_BATCH, int(rate / workers * wait_s)))


def plan(
    costs: Costs,
    machines: Machines,
    rate: float,
    *,
    headroom: float = 0.7,
    replication: int = 3,
    wait_s: float = 1.0,
    tables: WindowTables | None = None,
) -> Fleet:
    """Returns the smallest fleet that processes `rate` posts a second with `headroom` of its capacity.

    Each worker has one partition, and its batches for the windows fill for `wait_s` (EMOSTREAM_AGGREGATE_WAIT_MS). A
    batch calls every shard, so shards cost workers and masters core time. Of `_SHARDS_PER_MASTER`, the plan takes the
    number that needs the fewest cores.

    Args:
        costs: What a post costs each part.
        machines: The resources of one of each part.
        rate: Posts a second.
        headroom: The share of its capacity that each part may use.
        replication: Copies of each partition.
        wait_s: How long a batch for the windows fills, in seconds.
        tables: The window tables, whose keywords make some masters busier and fuller than others; None for an equal
            load on all masters.

    Raises:
        ValueError: The rate is not positive, or the headroom is not above 0 and at most 1. Or no number of masters is
            enough, because the calls of all batches, or the windows of one keyword, exceed a master's time or memory.
    """
    if rate <= 0 or not 0 < headroom <= 1:
        raise ValueError("the rate must be positive, and the headroom above 0 and at most 1")

    def units(per_unit: float) -> int:
        return max(1, math.ceil(rate / (headroom * per_unit) - 1e-9))

    def workers_for(shards: int) -> int:
        # With more workers, batches are smaller and a post costs more. So the number only rises until it is enough.
        found, needed = 0, 1
        while needed > found:
            found = needed
            needed = units(machines.worker_cores * 1e6 / costs.worker_us(batch_of(rate, found, wait_s), shards))
        return found

    def redis_for(each: int) -> Fleet | None:
        for masters in range(1, MAX_SHARDS // each + 1):
            shards = each * masters
            workers = workers_for(shards)
            batch = batch_of(rate, workers, wait_s)
            share = tables.busiest(batch, masters) if tables else 1 / masters
            us = share * costs.redis.us(batch, 0) + costs.redis.call_us * each / batch
            held = costs.window_bytes * tables.fullest(masters) if tables else 0.0
            if rate * us <= headroom * 1e6 * (1 + 1e-9) and held <= headroom * machines.master_bytes:
                return Fleet(workers=workers, partitions=workers, masters=masters, shards=shards)
        return None

    # Among equal costs, `min` takes the first, which has the most shards for each master.
    fleets = [fleet for each in _SHARDS_PER_MASTER if (fleet := redis_for(each)) is not None]
    if not fleets:
        raise ValueError(
            f"no number of Redis masters can apply {rate:,.0f} posts/s in batches that fill for {wait_s:g} s"
        )
    fleet = min(fleets, key=lambda fleet: fleet.masters + fleet.workers * machines.worker_cores)
    by_part = capacities(costs, machines, Fleet(1, 1, brokers=replication, replication=replication))
    per_broker = min(by_part["broker cores"], by_part["broker network"]) / replication
    sinks = min(rate * costs.sink_us / (headroom * machines.sink_cores * 1e6), fleet.workers)
    return Fleet(
        workers=fleet.workers,
        partitions=fleet.partitions,
        brokers=max(replication, units(per_broker)),
        masters=fleet.masters,
        shards=fleet.shards,
        # A sink has whole partitions, so the sink with the most of them must have enough capacity.
        sinks=next(n for n in range(1, fleet.workers + 1) if effective_holders(fleet.workers, n) >= sinks - 1e-9),
        replication=replication,
    )


def shortest_wait(
    waits_s: Sequence[float], plan_for: Callable[[float], Fleet], machines: Machines
) -> tuple[float, Fleet]:
    """Returns the shortest wait whose fleet needs at most `_FRESHNESS` more cores than the best, and that fleet.

    Args:
        waits_s: The times that a batch may fill, in seconds, in rising order.
        plan_for: Returns the fleet for a wait, or raises ValueError.
        machines: The resources of one of each part.

    Raises:
        ValueError: No wait has a fleet. This is the error of the last wait.
    """
    found: list[tuple[float, Fleet]] = []
    for wait_s in waits_s:
        try:
            found.append((wait_s, plan_for(wait_s)))
        except ValueError:
            if wait_s == waits_s[-1] and not found:
                raise

    def cores(fleet: Fleet) -> float:
        return fleet.workers * machines.worker_cores + fleet.masters

    least = min(cores(fleet) for _, fleet in found)
    return next((wait_s, fleet) for wait_s, fleet in found if cores(fleet) <= least * (1 + _FRESHNESS))
