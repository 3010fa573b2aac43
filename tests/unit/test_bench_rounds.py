"""The comparison of systems: the order of the runs, and the warm-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from benchmarks.harness.bench import Bench
from benchmarks.harness.checks import Check
from benchmarks.harness.report import Throughput
from benchmarks.harness.rounds import Measurements, measure_speed, order_of_round, warm_up
from benchmarks.harness.systems import BARE, EMOSTREAM, SYSTEMS, InstalledSystem
from benchmarks.harness.trial import RunError


class FakeBench:
    """Notes which system ran in which round. A run in a round of `broken` fails; each other run loses `lost` posts."""

    def __init__(self, *broken: int, lost: int = 0) -> None:
        self.ran: list[tuple[str, int]] = []
        self._broken = broken
        self._lost = lost

    def throughput(self, installed: InstalledSystem, number: int, count: int) -> Throughput:
        self.ran.append((installed.system.name, number))
        if number in self._broken:
            raise RunError("no result for 60 s after 0 of 9 posts")
        return Throughput(number, count, count, 1.0, count, {"system": 1.0}, 1.0, None, Check(self._lost, 0, 0, 1.0))


def all_runs() -> list[Measurements]:
    fields: Any = {"python": Path("python"), "version": None, "runtime": (), "client": ()}
    return [Measurements(InstalledSystem(system=system, **fields)) for system in SYSTEMS]


def test_every_other_round_is_reversed() -> None:
    assert [order_of_round("abc", number) for number in (1, 2, 3)] == [list("abc"), list("cba"), list("abc")]


def test_the_bare_loop_and_emostream_run_next_to_each_other_in_every_round() -> None:
    bench = FakeBench()
    measure_speed(cast(Bench, bench), all_runs(), posts=9, rounds=4, on_line=lambda line: None)
    for number in (1, 2, 3, 4):
        names = [name for name, round_number in bench.ran if round_number == number]
        assert len(names) == len(SYSTEMS)
        assert abs(names.index(BARE.name) - names.index(EMOSTREAM.name)) == 1


def test_the_warm_up_is_one_run_that_is_not_counted() -> None:
    bench, runs, lines = FakeBench(), all_runs(), list[str]()
    warm_up(cast(Bench, bench), runs, posts=9, on_line=lines.append)
    assert bench.ran == [(EMOSTREAM.name, 0)]
    assert not any(run.throughput or run.failures for run in runs)
    assert lines == [f"warm-up, not counted: {EMOSTREAM.name}: every post once"]


def test_a_warm_up_that_fails_is_a_failure_of_that_system() -> None:
    bench, runs = FakeBench(0), all_runs()
    warm_up(cast(Bench, bench), runs, posts=9, on_line=lambda line: None)
    assert {run.installed.system.name: run.failures for run in runs if run.failures} == {
        EMOSTREAM.name: [f"warm-up, not counted: {EMOSTREAM.name}: no result for 60 s after 0 of 9 posts"]
    }


def test_posts_lost_in_the_warm_up_are_a_failure_of_that_system() -> None:
    bench, runs = FakeBench(lost=2), all_runs()
    warm_up(cast(Bench, bench), runs, posts=9, on_line=lambda line: None)
    faults = [f"warm-up, not counted: {EMOSTREAM.name}: {fault}" for fault in Check(2, 0, 0, 1.0).faults()]
    assert faults
    assert {run.installed.system.name: run.failures for run in runs if run.failures} == {EMOSTREAM.name: faults}


def test_the_bare_loop_alone_needs_no_warm_up() -> None:
    bench = FakeBench()
    warm_up(cast(Bench, bench), [run for run in all_runs() if run.installed.system is BARE], posts=9, on_line=print)
    assert not bench.ran
