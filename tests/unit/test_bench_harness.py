"""The comparison of systems: its arithmetic, its checks of results, its tables, and what the command says."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import bench_systems
from benchmarks.harness import checks
from benchmarks.harness.checks import Check, check
from benchmarks.harness.pacing import Schedule, posts_for
from benchmarks.harness.plot import plot
from benchmarks.harness.posts import make_posts, read_texts
from benchmarks.harness.program import Program, ProgramError
from benchmarks.harness.report import Comparison, Latency, Measured, Throughput, markdown
from benchmarks.harness.servers import Cores
from benchmarks.harness.stats import Spread, percentiles, ratios
from benchmarks.harness.systems import BARE, BY_NAME, OURS, SYSTEMS, choose, find_installed
from benchmarks.peers.task import Task
from models.training.data import SETS
from streams.bench.meter import Meter, at
from streams.bench.steady import steady
from streams.records import Post


class TestSteady:
    def test_an_even_stream_loses_its_first_tenth(self) -> None:
        part = steady([number * 0.01 for number in range(1001)])
        assert part.begin == pytest.approx(1.0)
        assert (part.posts, part.end) == (900, 10)
        assert part.per_second == pytest.approx(100)

    def test_bursts_count_from_the_end_of_one(self) -> None:
        # 400 results every 4 s: 100 a second, whatever share of a burst the tenth falls on.
        times = [4.0 * burst + 0.001 * (number % 4) for burst in range(5) for number in range(400)]
        part = steady(times)
        assert part.posts == 1600
        assert part.per_second == pytest.approx(100, rel=1e-3)

    def test_a_first_burst_larger_than_a_tenth_does_not_count(self) -> None:
        times = [10.0] * 4096 + [20.0] * 4096 + [24.0] * 1808
        assert steady(times).per_second == pytest.approx(5904 / 14)

    def test_a_slow_start_does_not_count(self) -> None:
        times = [0.0] * 50 + [100 + number * 0.01 for number in range(950)]
        assert steady(times).per_second == pytest.approx(100, rel=0.01)

    def test_work_that_is_done_later_counts(self) -> None:
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


def test_a_cumulative_figure_between_samples() -> None:
    samples = [(10.0, 1.0), (12.0, 2.0), (13.0, 2.0)]
    assert [at(samples, moment) for moment in (0, 10, 11, 12.5, 99)] == [1, 1, 1.5, 2, 2]


def test_ratios_are_taken_round_by_round() -> None:
    # The machine was half as fast in round 2: the ratio does not notice.
    assert ratios({1: 90.0, 2: 45.0}, {1: 100.0, 2: 50.0, 3: 100.0}) == Spread(0.9, 0.9, 0.9)
    assert ratios({1: 90.0}, {2: 100.0}) is None
    assert Spread.of([3, 1, 2, 10]) == Spread(2.5, 1, 10)


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
    def test_posts(self, rate: float, seconds: float, posts: int) -> None:
        assert posts_for(rate, seconds) == posts


class TestChecks:
    LABELS = {"a": "joy", "b": "fear", "c": "anger"}  # noqa: RUF012

    def results(self, *pairs: tuple[str, str]) -> list[checks.Result]:
        return [checks.Result(1.0, name, label) for name, label in pairs]

    def test_all_well(self) -> None:
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

    def test_other_labels_are_no_loss(self) -> None:
        found = check(self.results(("a", "joy"), ("b", "joy"), ("c", "joy")), self.LABELS, self.LABELS)
        assert found.exactly_once
        assert found.agreement == pytest.approx(1 / 3)

    def test_labels_of_another_model_are_not_compared(self) -> None:
        assert check(self.results(("a", "x")), ["a"], None).agreement is None


def test_posts_are_valid_different_and_the_same_again() -> None:
    posts = make_posts(["one", "two"], 5)
    records = [Post.model_validate_json(post.value) for post in posts]
    assert [record.text for record in records] == ["one", "two", "one", "two", "one"]
    assert [record.id for record in records] == [post.id for post in posts] == [f"post-{i}" for i in range(5)]
    again = [Post.model_validate_json(post.value) for post in make_posts(["one", "two"], 5)]
    assert [(r.keywords, r.source) for r in again] == [(r.keywords, r.source) for r in records]


def write_sets(folder: Path) -> Path:
    lines = {
        "emotion": "good\tjoy\n",
        "goemotions": "a\tthanks\tjoy\n",
        "tweets-emotion": "so good\tjoy\n \tjoy\n",
        "tweets-sentiment": "bad\tnegative\n",
    }
    for data_set in SETS:
        file = folder / data_set.validation
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(lines[data_set.name], encoding="utf-8")
    return folder


def test_texts_are_all_sets_validation_texts_that_say_something(tmp_path: Path) -> None:
    texts = read_texts(write_sets(tmp_path))
    assert sorted(texts) == ["bad", "good", "so good", "thanks"]
    assert read_texts(tmp_path) == texts


class TestSystems:
    def test_the_bare_loop_is_always_among_them(self) -> None:
        assert choose(["bytewax"]) == [BARE, BY_NAME["bytewax"]]
        assert choose(["bytewax", "emostream"]) == [BARE, OURS, BY_NAME["bytewax"]]

    def test_variants_run_when_they_are_asked_for(self) -> None:
        assert [system.name for system in SYSTEMS if system not in choose([])] == [
            "faust-take",
            "confluent-batch",
            "quixstreams-dataframe",
        ]
        assert choose(["all"]) == list(SYSTEMS)

    def test_every_module_is_there(self) -> None:
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


def test_a_task_survives_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task("host:1", "raw", "classified", "group", Path("/m"), Path("/n.onnx"), threads=2, batch=512, wait_ms=50)
    for name, value in task.environment().items():
        monkeypatch.setenv(name, value)
    assert Task.read() == task


def test_cores_are_divided() -> None:
    assert Cores.split({3, 1, 2}, 1) == Cores((1,), (2, 3))
    assert Cores.split({0, 1}, 0) == Cores()
    with pytest.raises(ValueError, match="of 2 cores, 1 can be given"):
        Cores.split({0, 1}, 2)


def program(folder: Path, code: str) -> Program:
    return Program([sys.executable, "-c", code], env={}, folder=folder, log=folder / "log", cores=())


class TestProgram:
    def test_its_last_words_are_told(self, tmp_path: Path) -> None:
        with program(
            tmp_path, "print('x', flush=True); raise SystemExit('\\x1b[31mno broker\\x1b[0m\\x1b[?25h\\n')"
        ) as failed:
            with pytest.raises(ProgramError, match=r"^ended with exit code 1: no broker$"):
                failed.wait()
            with pytest.raises(ProgramError, match="no broker"):
                failed.check()

    def test_it_and_its_children_are_stopped(self, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
            "open('child', 'w').write(str(c.pid)); time.sleep(60)"
        )
        child = tmp_path / "child"
        with program(tmp_path, code) as running:
            while not (child.exists() and child.read_text()):
                running.check()
                time.sleep(0.01)
            stat = Path(f"/proc/{child.read_text()}/stat")
            assert stat.exists()
        while stat.exists() and stat.read_text().split()[2] != "Z":
            time.sleep(0.01)

    def test_processor_time_and_memory_of_it_and_its_children(self, tmp_path: Path) -> None:
        spin = "import time\nwhile time.process_time() < 0.5: pass\n"
        code = (
            f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])\n{spin}open('done', 'w')\ninput"
        )
        begin = time.time()
        with program(tmp_path, f"{code}\nimport time; time.sleep(60)") as running, Meter({"it": running.pid}) as meter:
            while not (tmp_path / "done").exists():
                running.check()
                time.sleep(0.01)
            time.sleep(0.5)
            end = time.time()
        spent = meter.cpu_s("it", begin, end)
        # The child's last moments may fall between two samples.
        assert 0.7 < spent < 2.5
        assert meter.cpu_s("it", end, end + 1) < 0.1
        assert meter.peak_bytes("it") > 5e6


GOOD = Check(0, 0, 0, 1.0)


def throughput(number: int, per_second: float, found: Check = GOOD) -> Throughput:
    cpu = {"system": 1.0, "broker": 0.1, "redis": 0.02}
    return Throughput(number, 10_000, 9_000, 9_000 / per_second, per_second, cpu, 200.0, None, found)


def latency(share: float, found: Check = GOOD) -> Latency:
    return Latency(share, 500 * share, 100, 40.0, 80.0, 120.0, 1.0, {"system": 1, "broker": 0, "redis": 0}, found)


def measured(name: str, speeds: list[float], *runs: Latency, found: Check = GOOD, failures: Any = ()) -> Measured:
    rounds = tuple(throughput(number, speed, found) for number, speed in enumerate(speeds, start=1))
    return Measured(name, name.title(), "1.0", "at least once", rounds, runs, tuple(failures))


COMPARISON = Comparison(
    machine={"CPU": "some", "cores": 2},
    settings={"posts": 10_000},
    model="emotion 1.0",
    systems=(
        measured("bare", [1000, 500, 1000]),
        measured("emostream", [950, 480, 930], latency(0.25), latency(0.5)),
        measured("distilbert", [50, 25, 50]),
    ),
    missing=("Pathway",),
)


class TestReport:
    def test_tables(self) -> None:
        text = markdown(COMPARISON)
        assert (
            "| Emostream | 930 (480 to 950) | 0.95 (0.93 to 0.96) | 1.000 (1.000 to 1.000) | 0.100 (0.100 to 0.100) "
            "| 0.020 (0.020 to 0.020) | 200 | 100.00 % |"
        ) in text
        assert "| Emostream | 125: 40 / 80 / 120 | 250: 40 / 80 / 120 |" in text
        assert text.index("| Bare |") < text.index("| Emostream |") < text.index("| Distilbert |")
        assert "Every system gave every post exactly once, in every run." in text
        assert "Not installed and left out: Pathway." in text
        assert "emotion 1.0; CPU some, cores 2, posts 10000." in text

    def test_faults_are_told(self) -> None:
        bad = measured(
            "bad", [10.0], latency(0.5, Check(1, 0, 0, 1.0)), found=Check(3, 2, 1, 0.5), failures=["it died"]
        )
        assert bad.faults() == [
            "it died",
            "round 1: 3 lost, 2 twice, 1 unknown",
            "50 % load: 1 lost, 0 twice, 0 unknown",
        ]
        text = markdown(Comparison({}, {}, "m", (bad,), ()))
        assert "Every system" not in text
        assert "- Bad: round 1: 3 lost, 2 twice, 1 unknown" in text
        assert "| 50.00 % |" in text

    def test_a_system_that_never_ran(self) -> None:
        text = markdown(Comparison({}, {}, "m", (measured("bare", [10.0]), measured("x", [], failures=["no"])), ()))
        assert "What went wrong:\n\n- X: no" in text

    def test_json(self) -> None:
        found = json.loads(json.dumps(COMPARISON.to_dict()))
        ours = found["systems"][1]
        assert ours["medians"]["per_second"] == {"median": 930, "low": 480, "high": 950}
        assert ours["medians"]["ratio_to_distilbert"]["median"] == 19
        assert ours["medians"]["cpu_s_broker"]["median"] == pytest.approx(0.1)
        assert [run["p95"] for run in ours["latency"]] == [80, 80]
        assert ours["faults"] == []

    def test_a_picture(self, tmp_path: Path) -> None:
        plot(COMPARISON, tmp_path / "new" / "systems.png")
        assert (tmp_path / "new" / "systems.png").read_bytes().startswith(b"\x89PNG")


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(bench_systems.main, list(arguments))


class TestCommand:
    def test_without_data_it_says_so(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(bench_systems, "DEFAULT_DATA", tmp_path / "none")
        result = bench()
        assert (result.exit_code, result.output.count("\n")) == (0, 1)
        assert "--data DATA" in result.output

    def test_a_folder_without_data_is_one_line(self, tmp_path: Path) -> None:
        result = bench("--data", str(tmp_path), "--systems", "emostream", "--work", str(tmp_path / "work"))
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert "emotion/validation.tsv" in result.output

    def test_more_cores_than_there_are_is_one_line(self, tmp_path: Path) -> None:
        result = bench("--data", str(tmp_path), "--cores", "10000", "--work", str(tmp_path / "work"))
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert "can be given to a system" in result.output

    def test_an_unknown_system_is_a_wrong_call(self) -> None:
        result = bench("--systems", "flink")
        assert result.exit_code == 2
        assert "'flink' is not one of" in result.output
