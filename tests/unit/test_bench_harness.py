"""The comparison of systems: arithmetic, posts, checks of results, and installed systems."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks import bench_systems
from benchmarks.harness import checks
from benchmarks.harness.bench import Bench
from benchmarks.harness.checks import Check, check
from benchmarks.harness.pacing import Schedule, post_count
from benchmarks.harness.posts import Supply, make_posts
from benchmarks.harness.servers import Cores
from benchmarks.harness.stats import Spread, percentiles, ratios
from benchmarks.harness.systems import (
    BARE,
    BY_NAME,
    EMOSTREAM,
    SYSTEMS,
    InstalledSystem,
    PythonError,
    choose,
    client_versions,
    find_installed,
)
from benchmarks.harness.trial import Setup
from benchmarks.peers.task import Task
from streams.ops.bench.meter import value_at
from streams.ops.bench.steady import steady
from streams.records import Post
from tests.helpers import NOON


class TestSteady:
    def test_the_first_tenth_of_an_even_stream_is_left_out(self) -> None:
        part = steady([number * 0.01 for number in range(1001)])
        assert part.begin == pytest.approx(1.0)
        assert (part.posts, part.end) == (900, 10)
        assert part.per_second == pytest.approx(100)

    def test_with_bursts_the_steady_part_begins_at_the_end_of_one(self) -> None:
        # 400 results every 4 s are 100 a second, wherever in a burst the first tenth ends.
        times = [4.0 * burst + 0.001 * (number % 4) for burst in range(5) for number in range(400)]
        part = steady(times)
        assert part.posts == 1600
        assert part.per_second == pytest.approx(100, rel=1e-3)

    def test_a_first_burst_larger_than_a_tenth_is_left_out(self) -> None:
        times = [10.0] * 4096 + [20.0] * 4096 + [24.0] * 1808
        assert steady(times).per_second == pytest.approx(5904 / 14)

    def test_a_slow_start_is_left_out(self) -> None:
        times = [0.0] * 50 + [100 + number * 0.01 for number in range(950)]
        assert steady(times).per_second == pytest.approx(100, rel=0.01)

    def test_the_clock_runs_until_the_given_end(self) -> None:
        times = [number * 0.01 for number in range(1001)]
        assert steady(times, end=19.0).per_second == pytest.approx(50)
        assert steady(times, end=3.0) == steady(times)

    def test_the_order_does_not_matter(self) -> None:
        times = [number * 0.01 for number in range(1001)]
        assert steady(times[::-1]) == steady(times)

    @pytest.mark.parametrize("times", [[], [1.0], [1.0] * 500, [1.0 + number * 1e-4 for number in range(500)]])
    def test_a_single_burst_has_no_rate(self, times: list[float]) -> None:
        with pytest.raises(ValueError, match="too few"):
            steady(times)


def test_percentiles() -> None:
    assert percentiles(list(range(101))) == (50, 95, 99)
    assert percentiles([7.0]) == (7, 7, 7)


def test_a_cumulative_figure_is_interpolated_between_samples() -> None:
    samples = [(10.0, 1.0), (12.0, 2.0), (13.0, 2.0)]
    assert [value_at(samples, moment) for moment in (0, 10, 11, 12.5, 99)] == [1, 1, 1.5, 2, 2]


def test_ratios_are_computed_for_each_round() -> None:
    # The machine was half as fast in round 2, which does not change the ratio.
    assert ratios({1: 90.0, 2: 45.0}, {1: 100.0, 2: 50.0, 3: 100.0}) == Spread(0.9, 0.9, 0.9)
    assert ratios({1: 90.0}, {2: 100.0}) is None
    assert Spread.of([3, 1, 2, 10]) == Spread(2.5, 1, 10)


class TestThroughput:
    @pytest.mark.parametrize(("behind", "seconds"), [(0.0, 9.0), (0.3, 9.3), (5.0, 14.0)])
    def test_the_clock_runs_until_the_windows_hold_every_post(self, behind: float, seconds: float) -> None:
        results = [checks.Result(number * 0.01, f"post-{number}", "joy") for number in range(1001)]
        supply = Supply(["good"])
        supply.calibrate(["joy"], 100.0)
        topics = SimpleNamespace(topic_raw="raw", topic_classified="classified")
        run = SimpleNamespace(
            settings=topics,
            start=nullcontext,
            wait_for_results=lambda program, posts: None,
            wait_for_windows=lambda program, posts: results[-1].at + behind,
        )
        meter = SimpleNamespace(cpu_s=lambda group, begin, end: end - begin, peak_bytes=lambda group: 2e6)
        setup = SimpleNamespace(
            run=lambda installed, raw: nullcontext(run),
            meter=lambda program: nullcontext(meter),
            kafka=SimpleNamespace(send=lambda topic, posts: None, read=lambda topic: results),
        )
        installed, _ = find_installed([EMOSTREAM], None)
        found = Bench(cast("Setup", setup), supply).throughput(installed[0], 1, 1001)
        assert found.seconds == pytest.approx(seconds)
        assert found.per_second == pytest.approx(900 / seconds)
        assert found.cpu_s["system"] == pytest.approx(1_000 * seconds / 900)
        assert found.lag_s == pytest.approx(behind)
        assert found.check == Check(0, 0, 0, 1.0)


class TestSchedule:
    def test_a_post_is_due_at_its_time_and_not_before(self) -> None:
        schedule = Schedule(begin=1_800_000_000.0, rate=300.0, posts=1000)
        assert schedule.due(schedule.begin - 0.001) == 0
        for number in range(1000):
            assert schedule.due(schedule.at(number)) == number + 1
            assert schedule.due(schedule.at(number) - 0.0005) == number
        assert schedule.due(schedule.end + 100) == 1000
        assert schedule.end - schedule.begin == pytest.approx(999 / 300)

    @pytest.mark.parametrize(("rate", "seconds", "posts"), [(100, 10, 1000), (0.5, 10, 20), (3.33, 10, 33)])
    def test_the_number_of_posts(self, rate: float, seconds: float, posts: int) -> None:
        assert post_count(rate, seconds) == posts


class TestChecks:
    LABELS = {"a": "joy", "b": "fear", "c": "anger"}  # noqa: RUF012

    def results(self, *pairs: tuple[str, str]) -> list[checks.Result]:
        return [checks.Result(1.0, name, label) for name, label in pairs]

    def test_results_without_a_fault(self) -> None:
        found = check(self.results(("c", "anger"), ("a", "joy"), ("b", "fear")), self.LABELS, self.LABELS)
        assert found == Check(lost=0, duplicated=0, unknown=0, agreement=1.0)
        assert found.exactly_once

    @pytest.mark.parametrize(
        ("results", "expected"),
        [
            ([("a", "joy"), ("b", "fear")], Check(1, 0, 0, 1.0)),
            ([("a", "joy"), ("b", "fear"), ("c", "anger"), ("a", "fear")], Check(0, 1, 0, 1.0)),
            ([("a", "joy"), ("b", "fear"), ("c", "anger"), ("x", "joy"), ("x", "joy")], Check(0, 0, 2, 1.0)),
            ([], Check(3, 0, 0, 0.0)),
        ],
    )
    def test_every_fault_is_found(self, results: list[tuple[str, str]], expected: Check) -> None:
        found = check(self.results(*results), self.LABELS, self.LABELS)
        assert found == expected
        assert not found.exactly_once

    def test_other_labels_are_not_lost_posts(self) -> None:
        found = check(self.results(("a", "joy"), ("b", "joy"), ("c", "joy")), self.LABELS, self.LABELS)
        assert found.exactly_once
        assert found.agreement == pytest.approx(1 / 3)
        assert found.faults() == ["33.333 % of the labels match the bare loop's"]

    @pytest.mark.parametrize(("agreement", "right"), [(1.0, True), (0.999, True), (0.9989, False), (None, True)])
    def test_a_label_in_a_thousand_may_differ(self, agreement: float | None, right: bool) -> None:
        assert (not Check(0, 0, 0, agreement).faults()) is right

    def test_labels_of_another_model_are_not_compared(self) -> None:
        assert check(self.results(("a", "x")), ["a"], None).agreement is None


def test_posts_are_valid_and_have_their_own_ids_and_two_calls_give_equal_posts() -> None:
    posts = make_posts(["one", "two"], 5, begin=NOON, span_s=10)
    records = [Post.from_json(post.value) for post in posts]
    assert [record.text for record in records] == ["one", "two", "one", "two", "one"]
    assert [record.id for record in records] == [post.id for post in posts] == [f"post-{i}" for i in range(5)]
    again = [Post.from_json(post.value) for post in make_posts(["one", "two"], 5, begin=NOON, span_s=10)]
    assert [record.created_at - NOON for record in records] == [timedelta(seconds=2 * i) for i in range(5)]
    assert [(r.keywords, r.source) for r in again] == [(r.keywords, r.source) for r in records]


class TestSupply:
    def test_a_call_for_more_posts_begins_with_the_same_posts(self) -> None:
        supply = Supply(["one", "two", "three"])
        few = [Post.from_json(post.value) for post in supply.first(4)]
        many = [Post.from_json(post.value) for post in supply.first(8)]
        assert [(post.id, post.text, post.keywords) for post in many[:4]] == [(p.id, p.text, p.keywords) for p in few]
        assert len(supply.first(5)) == 5

    def test_labels_are_those_of_the_texts(self) -> None:
        supply = Supply(["one", "two"])
        supply.calibrate(["joy", "fear"], 100.0)
        assert supply.labels(3) == {"post-0": "joy", "post-1": "fear", "post-2": "joy"}

    def test_posts_of_the_warm_up_are_as_old_as_the_first_post(self) -> None:
        supply = Supply(["one"])
        posts = [Post.from_json(post.value) for post in supply.first(3)]
        warm = [Post.from_json(post.value) for post in supply.warm_up_posts(3)]
        assert {post.created_at for post in warm} == {posts[0].created_at}
        assert not {post.id for post in warm} & {post.id for post in posts}

    def test_event_time_advances_at_the_rate_of_the_bare_loop_and_ends_now(self) -> None:
        supply = Supply(["one"])
        supply.first(4)
        supply.calibrate(["joy"], 20.0)
        posts = [Post.from_json(post.value) for post in supply.first(201)]
        assert (posts[200].created_at - posts[0].created_at).total_seconds() == pytest.approx(10)
        assert 0 <= (datetime.now(UTC) - posts[200].created_at).total_seconds() < 5
        assert [post.value for post in supply.first(3)] == [post.value for post in supply.first(201)[:3]]


class TestSystems:
    def test_the_bare_loop_is_always_chosen(self) -> None:
        assert choose(["bytewax"]) == [BARE, BY_NAME["bytewax"]]
        assert choose(["bytewax", "emostream"]) == [BARE, EMOSTREAM, BY_NAME["bytewax"]]

    def test_optional_systems_run_only_when_they_are_named(self) -> None:
        assert [system.name for system in SYSTEMS if system not in choose([])] == [
            "faust-take",
            "confluent-batch",
            "quixstreams-dataframe",
        ]
        assert choose(["all"]) == list(SYSTEMS)

    def test_every_module_exists(self) -> None:
        root = Path(bench_systems.__file__).parents[1]
        for system in SYSTEMS:
            for module in (system.module, *system.arguments):
                if module.startswith("benchmarks."):
                    assert (root / f"{module.replace('.', '/')}.py").is_file()

    def test_what_is_not_installed_is_left_out(self) -> None:
        system = BY_NAME["confluent"]
        absent = type(system)("x", "X", "x", needs=("emostream-no-such-package",))
        installed, missing = find_installed([BARE, absent, system], None)
        assert [each.system for each in installed] == [BARE, system]
        assert [each.python for each in installed] == [Path(sys.executable)] * 2
        assert installed[0].version is None
        assert installed[1].version is not None
        assert missing == [absent]

    def test_the_versions_of_both_environments_are_reported(self) -> None:
        (bare,), _ = find_installed([BARE], None)
        peer = InstalledSystem(BY_NAME["quixstreams"], Path("/peers/python"), "3", bare.runtime, ("2.12.2", None))
        found = client_versions([bare, peer])
        assert found.keys() >= {"confluent-kafka", "librdkafka"}
        assert found["librdkafka"] == bare.client[1] != "none"
        assert found["confluent-kafka of the peers"] == "2.12.2"
        assert found["librdkafka of the peers"] == "none"

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("#!/bin/sh\necho 'it is broken' >&2; exit 3\n", "it is broken"),
            ("#!/bin/sh\nexit 3\n", "exit code 3"),
            ("#!/bin/sh\necho hello\n", "Expecting value"),
            ("not a program", "Exec format error"),
        ],
    )
    def test_a_python_that_does_not_work_is_one_line(self, tmp_path: Path, script: str, reason: str) -> None:
        python = tmp_path / "python"
        python.write_text(script, encoding="utf-8")
        python.chmod(0o755)
        with pytest.raises(PythonError, match=rf"^{python} is not a working Python interpreter: .*{reason}"):
            find_installed([BARE], python)


def test_a_task_is_read_from_its_own_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(
        "host:1",
        "raw",
        "classified",
        "group",
        Path("/m"),
        Path("/n.onnx"),
        threads=2,
        batch=512,
        model_batch=32,
        wait_ms=50,
        partitions=4,
    )
    for name, value in task.environment().items():
        monkeypatch.setenv(name, value)
    assert Task.read() == task


def test_cores_are_divided() -> None:
    assert Cores.split({3, 1, 2}, 1) == Cores((1,), (2, 3))
    assert Cores.split({0, 1}, 0) == Cores()
    with pytest.raises(ValueError, match="at most 1 of 2 cores"):
        Cores.split({0, 1}, 2)
