"""Costs of a post and machines that tests of the scaling model share."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.scaling_model import BatchCost, Costs, Machines

COSTS = Costs(
    classify_us=900,
    aggregate=BatchCost(((1, 100),), 0),
    redis=BatchCost(((16, 160), (256, 40), (16_384, 10)), 0),
    broker_us=20,
    sink_us=25,
    postgres_rows=40_000,
    raw_bytes=300,
    classified_bytes=700,
    row_bytes=500,
    window_bytes=600,
)
CALLS = replace(COSTS, aggregate=BatchCost(((1, 100),), 400), redis=replace(COSTS.redis, call_us=100))
ONE_CORE = Machines(worker_cores=1, broker_cores=1)
