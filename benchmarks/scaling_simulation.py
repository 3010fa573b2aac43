"""Plays the batches of a fleet, event by event. Pure.

A worker's cores classify a batch, the brokers take it, its cores reduce it to deltas, and the Redis masters apply
these, each one after the other. Where nothing waits in vain this agrees with the closed form of `scaling_model`, which
the tests check; where something does, it tells.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.scaling_model import Costs, Fleet, Machines

WARM_SHARE = 0.2
"""Of a simulation, left out at its beginning: the queues fill."""


@dataclass(frozen=True)
class Simulated:
    """What a simulation gave.

    Attributes:
        classified: posts a second that were in the classified topic.
        applied: posts a second that were in the windows.
        lag: posts in the raw topic and in the classified topic at the end, that nobody had taken.
        busy: share of its time that each part worked.
    """

    classified: float
    applied: float
    lag: tuple[int, int]
    busy: Mapping[str, float]


class _Cores:
    """Servers of one queue, first come first served. Asked in the order of time."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count
        self.worked = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When work that comes now is done."""
        end = max(now, heapq.heappop(self._free)) + seconds
        heapq.heappush(self._free, end)
        self.worked += seconds
        return end

    def busy(self, seconds: float) -> float:
        return min(1.0, self.worked / (len(self._free) * seconds))


@dataclass(frozen=True)
class SimulationConfig:
    """How a simulation is run.

    Attributes:
        rate: posts a second that come, evenly over the partitions; infinite for a backlog that never ends.
        seconds: simulated.
        batch: posts in a batch of the classify stage at most.
        batch_wait_s: for how long such a batch is gathered, from its first post; while the stage is busy it grows on.
        aggregate_batch: posts in a batch of the aggregate stage at most.
        answer_s: from the end of a broker's or a master's work to when the worker knows.
        spread: of the time that a piece of work takes, as the standard deviation of its logarithm.
        seed: of those times.
    """

    rate: float = math.inf
    seconds: float = 60.0
    batch: int = 512
    batch_wait_s: float = 0.005
    aggregate_batch: int = 4_096
    answer_s: float = 0.0
    spread: float = 0.0
    seed: int = 7

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: no posts come, or a batch is not gathered at all.
        """
        if self.rate <= 0 or self.batch_wait_s <= 0:
            raise ValueError("posts must come, and a batch must be gathered for some time")


def simulate(costs: Costs, machines: Machines, fleet: Fleet, config: SimulationConfig | None = None) -> Simulated:
    """Play a fleet's batches.

    Each worker has its share of the partitions. It classifies one batch after another, and waits for the broker's
    answer to each; it counts what is in the classified topic, a batch at a time, and waits for every shard. Both want
    its cores. What a stage has not taken waits in Kafka, however much it is.

    One batch of a stage is one core's work: give a worker one core, as a process with one thread has.

    Raises:
        ValueError: a worker has no partition.
    """
    if fleet.workers > fleet.partitions:
        raise ValueError(f"{fleet.workers} workers share {fleet.partitions} partitions: some have nothing to do")
    return _Simulation(costs, machines, fleet, config or SimulationConfig()).run()


class _Simulation:
    """One run. Events are (time, number, what, worker, posts).

    A stage without work has no event: that which brings it some wakes it.
    """

    def __init__(self, costs: Costs, machines: Machines, fleet: Fleet, config: SimulationConfig) -> None:
        self._costs, self._fleet, self._config = costs, fleet, config
        self._random = np.random.default_rng(config.seed)
        held = [len(range(worker, fleet.partitions, fleet.workers)) for worker in range(fleet.workers)]
        self._rates = [config.rate * number / fleet.partitions for number in held]
        self._cores = [_Cores(max(1, round(machines.worker_cores))) for _ in held]
        self._brokers = [_Cores(max(1, round(machines.broker_cores))) for _ in range(fleet.brokers)]
        self._masters = [_Cores(1) for _ in range(fleet.masters)]
        self._taken, self._written, self._counted = [0] * len(held), [0] * len(held), [0] * len(held)
        self._counting = [False] * len(held)
        self._measured = {"classified": 0, "applied": 0}
        self._events: list[tuple[float, int, str, int, int]] = []
        self._number = 0

    def run(self) -> Simulated:
        steps: dict[str, Callable[[float, int, int], None]] = {
            "take": self._take,
            "write": self._write,
            "written": self._on_written,
            "apply": self._apply,
            "applied": self._on_applied,
        }
        for worker in range(self._fleet.workers):
            self._classify(0.0, worker)
        while self._events and self._events[0][0] < self._config.seconds:
            now, _, step, worker, posts = heapq.heappop(self._events)
            steps[step](now, worker, posts)
        measured_s = self._config.seconds * (1 - WARM_SHARE)
        arrived = sum(self._arrived(worker, self._config.seconds) for worker in range(self._fleet.workers))
        waiting = 0 if math.isinf(arrived) else int(arrived) - sum(self._taken)
        return Simulated(
            classified=self._measured["classified"] / measured_s,
            applied=self._measured["applied"] / measured_s,
            lag=(waiting, sum(self._written) - sum(self._counted)),
            busy={
                name: float(np.mean([part.busy(self._config.seconds) for part in parts]))
                for name, parts in (("workers", self._cores), ("brokers", self._brokers), ("Redis", self._masters))
            },
        )

    def _at(self, when: float, step: str, worker: int, posts: int = 0) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, step, worker, posts))

    def _took(self, us: float) -> float:
        # The mean of a lognormal is exp(spread^2 / 2).
        factor = (
            self._random.lognormal(-(self._config.spread**2) / 2, self._config.spread) if self._config.spread else 1.0
        )
        return us * factor / 1e6

    def _arrived(self, worker: int, now: float) -> float:
        return math.inf if math.isinf(self._rates[worker]) else self._rates[worker] * now

    def _note(self, what: str, now: float, posts: int) -> None:
        if now >= self._config.seconds * WARM_SHARE:
            self._measured[what] += posts

    def _classify(self, now: float, worker: int) -> None:
        """Find when the next batch is gathered: full, or its first post has waited for long enough."""
        rate, taken = self._rates[worker], self._taken[worker]
        full, first = (0.0, 0.0) if math.isinf(rate) else ((taken + self._config.batch) / rate, (taken + 1) / rate)
        gathered = min(full, first + self._config.batch_wait_s)
        if gathered > now:
            self._at(gathered, "take", worker)
        else:
            self._take(now, worker)

    def _take(self, now: float, worker: int, _: int = 0) -> None:
        # A little more than has come, because the post that was waited for may be a rounding error short of it.
        posts = int(min(self._config.batch, self._arrived(worker, now) - self._taken[worker] + 1e-6))
        self._taken[worker] += posts
        end = self._cores[worker].serve(now, self._took(posts * self._costs.classify_us))
        self._at(end, "write", worker, posts)

    def _write(self, now: float, worker: int, posts: int) -> None:
        # A copy on another broker is that broker's work.
        brokers = (self._brokers[(worker + copy) % len(self._brokers)] for copy in range(self._fleet.replication))
        ends = [broker.serve(now, self._took(posts * self._costs.broker_us)) for broker in brokers]
        self._at(max(ends) + self._config.answer_s, "written", worker, posts)

    def _on_written(self, now: float, worker: int, posts: int) -> None:
        self._written[worker] += posts
        self._note("classified", now, posts)
        self._classify(now, worker)
        if not self._counting[worker]:
            self._count(now, worker)

    def _count(self, now: float, worker: int) -> None:
        posts = min(self._config.aggregate_batch, self._written[worker] - self._counted[worker])
        self._counting[worker] = posts > 0
        if not posts:
            return
        self._counted[worker] += posts
        us = posts * self._costs.aggregate.us(posts, self._fleet.shards)
        self._at(self._cores[worker].serve(now, self._took(us)), "apply", worker, posts)

    def _apply(self, now: float, worker: int, posts: int) -> None:
        each = posts * self._costs.redis.us(posts, self._fleet.shards) / self._fleet.shards
        ends = [
            self._masters[shard % len(self._masters)].serve(now, self._took(each))
            for shard in range(self._fleet.shards)
        ]
        self._at(max(ends) + self._config.answer_s, "applied", worker, posts)

    def _on_applied(self, now: float, worker: int, posts: int) -> None:
        self._note("applied", now, posts)
        self._count(now, worker)
