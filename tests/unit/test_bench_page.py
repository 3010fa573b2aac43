"""The figures of benchmarks/bench_page.py."""

from __future__ import annotations

import math

import pytest

from benchmarks.harness.page import Memory, frames_of, growth_per_hour


def memory(at_s: float, heap_mb: float) -> Memory:
    return Memory(at_s, heap_mb, nodes=1, listeners=1)


def test_frames_that_come_late_are_counted() -> None:
    times = [0.0]
    for number in range(100):
        times.append(times[-1] + (60.0 if number == 50 else 16.0))
    found = frames_of(times, 1_000)
    assert (found.count, found.p50_ms, found.worst_ms, found.late) == (101, 16.0, 60.0, 0.01)


def test_the_growth_is_that_of_the_line() -> None:
    assert growth_per_hour([memory(at, 10 + at / 3_600) for at in range(0, 600, 60)]) == pytest.approx(1.0)
    assert growth_per_hour([memory(at, 10 + at % 2) for at in range(100)]) == pytest.approx(0, abs=3)
    assert math.isnan(growth_per_hour([memory(0, 10)]))
