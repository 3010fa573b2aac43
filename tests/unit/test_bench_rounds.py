"""The comparison of systems: whose turn it is, and what does not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from benchmarks.harness.bench import Bench
from benchmarks.harness.checks import Check
from benchmarks.harness.report import Throughput
from benchmarks.harness.rounds import Runs, measure_speed, turns, warm_up
from benchmarks.harness.systems import BARE, OURS, SYSTEMS, Installed
from benchmarks.harness.trial import TrialError


class FakeBench:
    """Notes who ran, in which round; a run in `broken` gives no measurement, and each loses `lost` posts."""

    def __init__(self, *broken: int, lost: int = 0) -> None:
        self.ran: list[tuple[str, int]] = []
        self._broken = broken
        self._lost = lost

    def throughput(self, installed: Installed, number: int, count: int) -> Throughput:
        self.ran.append((installed.system.name, number))
        if number in self._broken:
            raise TrialError("0 of 9 posts, then nothing")
        return Throughput(number, count, count, 1.0, count, {"system": 1.0}, 1.0, None, Check(self._lost, 0, 0, 1.0))


def all_runs() -> list[Runs]:
    fields: Any = {"python": Path("python"), "version": None, "runtime": (), "client": ()}
    return [Runs(Installed(system=system, **fields)) for system in SYSTEMS]


def test_every_other_round_goes_backwards() -> None:
    assert [turns("abc", number) for number in (1, 2, 3)] == [list("abc"), list("cba"), list("abc")]


def test_the_bare_loop_runs_right_beside_ours_in_every_round() -> None:
    bench = FakeBench()
    measure_speed(cast(Bench, bench), all_runs(), posts=9, rounds=4, tell=lambda line: None)
    for number in (1, 2, 3, 4):
        names = [name for name, round_number in bench.ran if round_number == number]
        assert len(names) == len(SYSTEMS)
        assert abs(names.index(BARE.name) - names.index(OURS.name)) == 1


def test_the_broker_is_warmed_up_by_one_run_that_does_not_count() -> None:
    bench, runs, told = FakeBench(), all_runs(), list[str]()
    warm_up(cast(Bench, bench), runs, posts=9, tell=told.append)
    assert bench.ran == [(OURS.name, 0)]
    assert not any(run.throughput or run.failures for run in runs)
    assert told == [f"warm-up, not counted: {OURS.name}: every post once"]


def test_a_warm_up_that_fails_is_a_failure_of_that_system() -> None:
    bench, runs = FakeBench(0), all_runs()
    warm_up(cast(Bench, bench), runs, posts=9, tell=lambda line: None)
    assert {run.installed.system.name: run.failures for run in runs if run.failures} == {
        OURS.name: [f"warm-up, not counted: {OURS.name}: 0 of 9 posts, then nothing"]
    }


def test_what_the_warm_up_loses_is_a_failure_of_that_system() -> None:
    bench, runs = FakeBench(lost=2), all_runs()
    warm_up(cast(Bench, bench), runs, posts=9, tell=lambda line: None)
    faults = [f"warm-up, not counted: {OURS.name}: {fault}" for fault in Check(2, 0, 0, 1.0).faults()]
    assert faults
    assert {run.installed.system.name: run.failures for run in runs if run.failures} == {OURS.name: faults}


def test_the_bare_loop_alone_needs_no_broker() -> None:
    bench = FakeBench()
    warm_up(cast(Bench, bench), [run for run in all_runs() if run.installed.system is BARE], posts=9, tell=print)
    assert not bench.ran
