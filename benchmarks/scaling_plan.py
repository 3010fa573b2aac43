"""The smallest fleet for a rate of posts. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from benchmarks.scaling_model import LARGEST_BATCH, Costs, Fleet, Machines, capacities, max_balanced_load
from streams.ops.bench.posts import keyword_weights
from streams.records import ALL_KEYWORDS
from streams.window_sizes import WindowSize
from streams.windows.tumbling import shard_of

MOST_SHARDS = 1_024
"""That the settings allow (EMOSTREAM_SHARDS)."""

_EACH = (4, 3, 2, 1)
"""Shards for each master: several, so that a master more may take some from all; but each is a call of every batch."""


_FRESHNESS = 0.05
"""Share of the cores that fresher windows may cost."""


@dataclass(frozen=True)
class Tables:
    """The windows in Redis, and which posts change them.

    Attributes:
        keywords: how many there are; posts are spread over them as those of the benchmarks are.
        per_post: keywords of a post, on average.
        sizes: of the windows.
    """

    keywords: int
    per_post: float
    sizes: Sequence[WindowSize]

    @cached_property
    def _names(self) -> npt.NDArray[np.int64]:
        """The hash by which each keyword's shard is found, that of all posts first."""
        names = (ALL_KEYWORDS, *(f"keyword-{number}" for number in range(self.keywords)))
        return np.array([shard_of(name, 2**32) for name in names], np.int64)

    @cached_property
    def _posts(self) -> npt.NDArray[np.float64]:
        """For each of them, how many of its keyword come with a post."""
        weights = np.array(keyword_weights(self.keywords), np.float64)
        return np.concatenate(([np.inf], self.per_post * weights / weights.sum()))

    def busiest(self, batch: float, holders: int) -> float:
        """Share of the windows that a batch changes in the busiest of so many shards.

        Also in that of so many masters which shards are dealt out to in turn, if it divides them.
        """
        changed = -np.expm1(-batch * self._posts)
        return float(np.bincount(self._names % holders, changed).max() / changed.sum())

    def fullest(self, holders: int) -> float:
        """Windows in the fullest of so many shards, or masters, when every keyword has a post in each of them."""
        of_keyword = math.fsum(1 + size.kept_s / size.seconds for size in self.sizes)  # the open one and those kept
        return float(np.bincount(self._names % holders).max() * of_keyword)


def batch_of(rate: float, workers: int, wait_s: float) -> int:
    """Posts that a worker counts at once when it gathers them for so long."""
    return max(1, min(LARGEST_BATCH, int(rate / workers * wait_s)))


def plan(
    costs: Costs,
    machines: Machines,
    rate: float,
    *,
    headroom: float = 0.7,
    replication: int = 3,
    wait_s: float = 1.0,
    tables: Tables | None = None,
) -> Fleet:
    """The smallest fleet that does `rate` posts a second at `headroom` of its capacity.

    Each worker has a partition, and counts batches that it gathers for `wait_s` (EMOSTREAM_AGGREGATE_WAIT_MS). A batch
    is a call to every shard, so that shards cost workers and masters: each master has as many of `_EACH` as need the
    fewest cores.

    Args:
        costs: of a post.
        machines: what one of each has.
        rate: posts a second.
        headroom: share of its capacity that each part may use.
        replication: copies of each partition.
        wait_s: for how long a batch is gathered.
        tables: by which keywords make some masters busier and fuller than others; None where all are alike.

    Raises:
        ValueError: the rate is not positive, or the headroom is not within 0 and 1; or no number of masters is enough:
            the calls of all batches, or one keyword's windows, take more than a master's time or memory.
    """
    if rate <= 0 or not 0 < headroom <= 1:
        raise ValueError("the rate must be positive, and the headroom above 0 and at most 1")

    def units(per_unit: float) -> int:
        return max(1, math.ceil(rate / (headroom * per_unit) - 1e-9))

    def workers_for(shards: int) -> int:
        # More workers have smaller batches, which cost them more: so their number only rises, and comes to rest.
        found, needed = 0, 1
        while needed > found:
            found = needed
            needed = units(machines.worker_cores * 1e6 / costs.worker_us(batch_of(rate, found, wait_s), shards))
        return found

    def redis_for(each: int) -> Fleet | None:
        for masters in range(1, MOST_SHARDS // each + 1):
            shards = each * masters
            workers = workers_for(shards)
            batch = batch_of(rate, workers, wait_s)
            share = tables.busiest(batch, masters) if tables else 1 / masters
            us = share * costs.redis.us(batch, 0) + costs.redis.call_us * each / batch
            held = costs.window_bytes * tables.fullest(masters) if tables else 0.0
            if rate * us <= headroom * 1e6 * (1 + 1e-9) and held <= headroom * machines.master_bytes:
                return Fleet(workers=workers, partitions=workers, masters=masters, shards=shards)
        return None

    # Of those that cost the same, the first has the most shards for each master.
    found = [fleet for each in _EACH if (fleet := redis_for(each)) is not None]
    if not found:
        raise ValueError(f"no number of Redis masters does {rate:,.0f} posts/s in batches gathered for {wait_s:g} s")
    fleet = min(found, key=lambda fleet: fleet.masters + fleet.workers * machines.worker_cores)
    by_part = capacities(costs, machines, Fleet(1, 1, brokers=replication, replication=replication))
    per_broker = min(by_part["broker cores"], by_part["broker network"]) / replication
    sinks = min(rate * costs.sink_us / (headroom * machines.sink_cores * 1e6), fleet.workers)
    return Fleet(
        workers=fleet.workers,
        partitions=fleet.partitions,
        brokers=max(replication, units(per_broker)),
        masters=fleet.masters,
        shards=fleet.shards,
        # Partitions are dealt out whole: more sinks, until the fullest is not too full.
        sinks=next(n for n in range(1, fleet.workers + 1) if max_balanced_load(fleet.workers, n) >= sinks - 1e-9),
        replication=replication,
    )


def shortest_wait(
    waits_s: Sequence[float], plan_for: Callable[[float], Fleet], machines: Machines
) -> tuple[float, Fleet]:
    """The shortest time to gather a batch that needs hardly more cores than the best, and its fleet.

    Args:
        waits_s: times to choose from, in seconds; they rise.
        plan_for: the fleet for such a time, or a ValueError.
        machines: what one of each has.

    Raises:
        ValueError: there is no fleet for any; that of the last.
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
