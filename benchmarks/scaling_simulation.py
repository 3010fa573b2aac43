"""Simulates the batches of a fleet, event by event. Pure.

A worker's core classifies a batch, the brokers write it, the core reduces it to deltas, and the Redis masters apply the
deltas. Each core serves one piece of work at a time. If no part has to wait for another, the result agrees with the
closed form of `scaling_model`; tests check that. If parts wait, the simulation shows what that costs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.scaling_model import Costs, Fleet, Machines

WARM_SHARE = 0.2
"""Share of the simulated time at the beginning that is not measured, because the queues still fill."""


@dataclass(frozen=True)
class SimulationResult:
    """The result of a simulation.

    Attributes:
        classified: Posts a second that reached the classified topic.
        applied: Posts a second that reached the windows.
        lag: Posts that still waited at the end, in the raw topic and in the classified topic.
        busy: Share of the time that each part was at work, by name of the part.
    """

    classified: float
    applied: float
    lag: tuple[int, int]
    busy: Mapping[str, float]


class _Cores:
    """Cores that serve one queue in the order of arrival. Calls must come in the order of time."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count
        self.worked = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Returns when a piece of work that arrives at `now` and takes `seconds` is done."""
        end = max(now, heapq.heappop(self._free)) + seconds
        heapq.heappush(self._free, end)
        self.worked += seconds
        return end

    def busy(self, seconds: float) -> float:
        return min(1.0, self.worked / (len(self._free) * seconds))


@dataclass(frozen=True)
class SimulationConfig:
    """How a simulation runs.

    Attributes:
        rate: Posts a second that arrive, evenly over the partitions; infinite for an endless backlog.
        seconds: Simulated time.
        batch: Posts in a batch of the classify stage at most.
        batch_wait_s: How long such a batch fills, from its first post on. It fills for longer while the stage is busy.
        aggregate_batch: Posts in a batch of the aggregate stage at most.
        answer_s: Seconds from the end of a broker's or a master's work until the worker has the answer.
        sigma: Standard deviation of the logarithm of the time that a piece of work takes.
        seed: Seed of the random times.
    """

    rate: float = math.inf
    seconds: float = 60.0
    batch: int = 512
    batch_wait_s: float = 0.005
    aggregate_batch: int = 4_096
    answer_s: float = 0.0
    sigma: float = 0.0
    seed: int = 7

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: `rate` or `batch_wait_s` is not positive.
        """
        if self.rate <= 0 or self.batch_wait_s <= 0:
            raise ValueError("rate and batch_wait_s must be above 0")


def simulate(
    costs: Costs, machines: Machines, fleet: Fleet, config: SimulationConfig | None = None
) -> SimulationResult:
    """Simulate a fleet's batches.

    Each worker has its share of the partitions. Its classify stage classifies one batch after another, and waits for
    the brokers' answer to each. Its aggregate stage counts the posts in the classified topic, a batch at a time, and
    waits for every shard. Both stages use the worker's cores. Any number of posts can wait in Kafka.

    A batch of a stage is the work of one core. So a worker should have one core, like a process with one thread.

    Raises:
        ValueError: There are more workers than partitions.
    """
    if fleet.workers > fleet.partitions:
        raise ValueError(f"{fleet.workers} workers need at least as many partitions, not {fleet.partitions}")
    return _Simulation(costs, machines, fleet, config or SimulationConfig()).run()


class _Simulation:
    """One run. An event is (time, number, step, worker, posts); the number keeps simultaneous events in order.

    A stage without work has no event. The event that brings it work starts it.
    """

    def __init__(self, costs: Costs, machines: Machines, fleet: Fleet, config: SimulationConfig) -> None:
        self._costs, self._fleet, self._config = costs, fleet, config
        self._random = np.random.default_rng(config.seed)
        partitions = [len(range(worker, fleet.partitions, fleet.workers)) for worker in range(fleet.workers)]
        self._rates = [config.rate * number / fleet.partitions for number in partitions]
        self._cores = [_Cores(max(1, round(machines.worker_cores))) for _ in partitions]
        self._brokers = [_Cores(max(1, round(machines.broker_cores))) for _ in range(fleet.brokers)]
        self._masters = [_Cores(1) for _ in range(fleet.masters)]
        self._taken, self._written, self._counted = [[0] * fleet.workers for _ in range(3)]
        self._counting = [False] * fleet.workers
        self._measured = {"classified": 0, "applied": 0}
        self._events: list[tuple[float, int, str, int, int]] = []
        self._number = 0

    def run(self) -> SimulationResult:
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
        return SimulationResult(
            classified=self._measured["classified"] / measured_s,
            applied=self._measured["applied"] / measured_s,
            lag=(waiting, sum(self._written) - sum(self._counted)),
            busy={
                name: float(np.mean([part.busy(self._config.seconds) for part in parts]))
                for name, parts in (("workers", self._cores), ("brokers", self._brokers), ("Redis", self._masters))
            },
        )

    def _schedule(self, when: float, step: str, worker: int, posts: int = 0) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, step, worker, posts))

    def _duration_s(self, us: float) -> float:
        """Returns a random duration in seconds whose mean is `us` microseconds."""
        # exp(-sigma^2 / 2) makes the mean of the lognormal factor 1.
        sigma = self._config.sigma
        factor = self._random.lognormal(-(sigma**2) / 2, sigma) if sigma else 1.0
        return us * factor / 1e6

    def _arrived(self, worker: int, now: float) -> float:
        return math.inf if math.isinf(self._rates[worker]) else self._rates[worker] * now

    def _measure(self, what: str, now: float, posts: int) -> None:
        if now >= self._config.seconds * WARM_SHARE:
            self._measured[what] += posts

    def _classify(self, now: float, worker: int) -> None:
        """Take the next batch, or schedule it for when it is full or its first post has waited for `batch_wait_s`."""
        rate, taken = self._rates[worker], self._taken[worker]
        full, first = (0.0, 0.0) if math.isinf(rate) else ((taken + self._config.batch) / rate, (taken + 1) / rate)
        ready = min(full, first + self._config.batch_wait_s)
        if ready > now:
            self._schedule(ready, "take", worker)
        else:
            self._take(now, worker)

    def _take(self, now: float, worker: int, _: int = 0) -> None:
        # The small addition counts a post that a rounding error puts just after `now`.
        posts = int(min(self._config.batch, self._arrived(worker, now) - self._taken[worker] + 1e-6))
        self._taken[worker] += posts
        end = self._cores[worker].serve(now, self._duration_s(posts * self._costs.classify_us))
        self._schedule(end, "write", worker, posts)

    def _write(self, now: float, worker: int, posts: int) -> None:
        # Each copy is written by another broker.
        brokers = (self._brokers[(worker + copy) % len(self._brokers)] for copy in range(self._fleet.replication))
        ends = [broker.serve(now, self._duration_s(posts * self._costs.broker_us)) for broker in brokers]
        self._schedule(max(ends) + self._config.answer_s, "written", worker, posts)

    def _on_written(self, now: float, worker: int, posts: int) -> None:
        self._written[worker] += posts
        self._measure("classified", now, posts)
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
        self._schedule(self._cores[worker].serve(now, self._duration_s(us)), "apply", worker, posts)

    def _apply(self, now: float, worker: int, posts: int) -> None:
        per_shard = posts * self._costs.redis.us(posts, self._fleet.shards) / self._fleet.shards
        ends = [
            self._masters[shard % len(self._masters)].serve(now, self._duration_s(per_shard))
            for shard in range(self._fleet.shards)
        ]
        self._schedule(max(ends) + self._config.answer_s, "applied", worker, posts)

    def _on_applied(self, now: float, worker: int, posts: int) -> None:
        self._measure("applied", now, posts)
        self._count(now, worker)
