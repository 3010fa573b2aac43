"""The comparison of systems: texts, tables, files, and the command's messages."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import bench_scaling, bench_servers, bench_systems, soak
from benchmarks.harness.checks import Check
from benchmarks.harness.plot import plot
from benchmarks.harness.posts import read_texts
from benchmarks.harness.report import Comparison, Latency, SystemSummary, Throughput, markdown
from benchmarks.harness.results import Files
from models.training.data import SETS


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


def test_texts_are_the_validation_texts_of_all_sets_without_blank_ones(tmp_path: Path) -> None:
    texts = read_texts(write_sets(tmp_path))
    assert sorted(texts) == ["bad", "good", "so good", "thanks"]
    assert read_texts(tmp_path) == texts


GOOD = Check(0, 0, 0, 1.0)


def throughput(number: int, per_second: float, found: Check = GOOD) -> Throughput:
    cpu = {"system": 1.0, "broker": 0.1, "redis": 0.02}
    return Throughput(number, 10_000, 9_000, 9_000 / per_second, per_second, cpu, 200.0, None, found)


def latency(share: float, found: Check = GOOD) -> Latency:
    return Latency(share, 500 * share, 100, 40.0, 80.0, 120.0, 1.0, {"system": 1, "broker": 0, "redis": 0}, found)


def measured(name: str, speeds: list[float], *runs: Latency, found: Check = GOOD, failures: Any = ()) -> SystemSummary:
    rounds = tuple(throughput(number, speed, found) for number, speed in enumerate(speeds, start=1))
    return SystemSummary(name, name.title(), "1.0", "at least once", rounds, runs, tuple(failures))


COMPARISON = Comparison(
    machine={"CPU": "some", "cores": 2},
    settings={"posts": 10_000},
    model="emotion 1.0",
    systems=(
        measured("bare", [1000, 500, 1000]),
        measured("emostream", [950, 480, 930], latency(0.25), latency(0.5)),
        measured("distilbert", [50, 25, 50]),
    ),
    missing=("Pathway: pathway is not installed",),
)


class TestReport:
    def test_tables(self) -> None:
        text = markdown(COMPARISON)
        assert (
            "| Emostream | 930 (480 to 950) | 0.95 (0.93 to 0.96) | 19.0 (18.6 to 19.2) | 1.000 (1.000 to 1.000) "
            "| 1.00 (1.00 to 1.00) | 0.100 (0.100 to 0.100) | 0.020 (0.020 to 0.020) | 200 | 100.00 % |"
        ) in text
        assert "| Emostream | 125: 40 / 80 / 120 | 250: 40 / 80 / 120 |" in text
        assert text.index("| Bare |") < text.index("| Emostream |") < text.index("| Distilbert |")
        assert "Every system answered every post exactly once in every run; at least 99.9 % of labels match" in text
        assert "Did not run:\n\n- Pathway: pathway is not installed\n" in text
        assert "emotion 1.0; CPU some, cores 2, posts 10000." in text

    def test_faults_are_reported(self) -> None:
        bad = measured(
            "bad", [10.0], latency(0.5, Check(1, 0, 0, 1.0)), found=Check(3, 2, 1, 0.5), failures=["it died"]
        )
        assert bad.faults() == [
            "it died",
            "round 1: 3 lost, 2 duplicated, 1 unknown",
            "round 1: 50.000 % of the labels match the bare loop's",
            "50 % load: 1 lost, 0 duplicated, 0 unknown",
        ]
        text = markdown(Comparison({}, {}, "m", (bad,), ()))
        assert "Every system" not in text
        assert "- Bad: round 1: 3 lost, 2 duplicated, 1 unknown" in text
        assert "| 50.00 % |" in text

    def test_wrong_labels_of_a_latency_run_are_a_fault(self) -> None:
        bad = measured("bad", [10.0], latency(0.5, Check(0, 0, 0, 0.9)))
        assert bad.faults() == ["50 % load: 90.000 % of the labels match the bare loop's"]
        assert "| 90.00 % |" in markdown(Comparison({}, {}, "m", (bad,), ()))

    def test_a_system_without_a_run_has_its_failure_in_the_report(self) -> None:
        text = markdown(Comparison({}, {}, "m", (measured("bare", [10.0]), measured("x", [], failures=["no"])), ()))
        assert "Faults:\n\n- X: no" in text

    def test_json(self) -> None:
        found = json.loads(json.dumps(COMPARISON.to_dict()))
        emostream = found["systems"][1]
        assert emostream["medians"]["per_second"] == {"median": 930, "low": 480, "high": 950}
        assert emostream["medians"]["ratio_to_distilbert"]["median"] == 19
        assert emostream["medians"]["cpu_ratio_to_bare"]["median"] == 1
        assert emostream["medians"]["cpu_s_broker"]["median"] == pytest.approx(0.1)
        assert [run["p95"] for run in emostream["latency"]] == [80, 80]
        assert emostream["faults"] == []

    def test_the_chart_is_a_png(self, tmp_path: Path) -> None:
        plot(COMPARISON, tmp_path / "new" / "systems.png")
        assert (tmp_path / "new" / "systems.png").read_bytes().startswith(b"\x89PNG")


class TestFiles:
    def test_files_without_a_given_path_go_to_a_new_folder(self, tmp_path: Path) -> None:
        files = Files.choose(tmp_path / "results", tmp_path / "own.json", None, None)
        files.write(COMPARISON)
        assert json.loads((tmp_path / "own.json").read_text())["model"] == "emotion 1.0"
        (folder,) = (tmp_path / "results").iterdir()
        assert sorted(file.name for file in folder.iterdir()) == ["systems.md", "systems.png"]
        assert (folder / "systems.md").read_text() == markdown(COMPARISON)

    def test_written_files_and_missing_systems_are_reported(self, tmp_path: Path) -> None:
        lines: list[str] = []
        Files(tmp_path / "a.json", tmp_path / "a.md", None).report(COMPARISON, lines.append)
        assert lines[0] == "did not run: Pathway: pathway is not installed"
        assert lines[1].startswith("no chart was drawn: it needs matplotlib")
        assert lines[2] == f"results were written to {tmp_path / 'a.json'}, {tmp_path / 'a.md'}"

    def test_without_matplotlib_there_is_no_chart_and_a_given_path_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("benchmarks.harness.results.find_spec", lambda name: None)
        assert Files.choose(tmp_path, None, None, None).plot is None
        with pytest.raises(ValueError, match="--plot needs matplotlib"):
            Files.choose(tmp_path, None, None, tmp_path / "a.png")


class SignalledServers:
    """Servers whose first use sends SIGTERM to this process."""

    stopped = False

    def __init__(self, *_: object) -> None:
        self.endpoints = self

    @property
    def kafka_bootstrap(self) -> str:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("SIGTERM had no effect")

    def as_env(self) -> dict[str, str]:
        return {"EMOSTREAM_KAFKA_BOOTSTRAP": self.kafka_bootstrap}

    def __enter__(self) -> SignalledServers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        type(self).stopped = True


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(bench_systems.main, list(arguments))


class TestCommand:
    def test_without_data_one_line_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(bench_systems, "DEFAULT_DATA", tmp_path / "none")
        result = bench()
        assert (result.exit_code, result.output.count("\n")) == (0, 1)
        assert "--data DATA" in result.output

    def test_a_folder_without_data_is_one_line(self, tmp_path: Path) -> None:
        result = bench("--data", str(tmp_path), "--systems", "emostream", "--work", str(tmp_path / "work"))
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert "emotion/validation.tsv" in result.output

    def test_several_cores_are_refused(self, tmp_path: Path) -> None:
        result = bench("--data", str(tmp_path), "--cores", "2", "--work", str(tmp_path / "work"))
        assert result.exit_code == 2
        assert "--cores takes 0 or 1" in result.output

    def test_a_file_that_is_not_a_python_is_one_line(self, tmp_path: Path) -> None:
        python = tmp_path / "python"
        python.touch(0o644)
        result = bench("--data", str(tmp_path), "--peers-python", str(python), "--work", str(tmp_path / "work"))
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert "is not a working Python interpreter" in result.output

    @pytest.mark.parametrize("module", [bench_systems, bench_scaling, bench_servers, soak])
    def test_a_signal_stops_the_servers(self, module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(module, "Servers", type("SignalledServers", (SignalledServers,), {}))
        # Whatever cores this machine has.
        monkeypatch.setattr(bench_scaling, "_cores", lambda: {0, 1})
        takes_work = any(option.name == "work" for option in module.main.params)
        arguments = ["--work", str(tmp_path)] if takes_work else []
        if module is bench_systems:
            arguments += ["--systems", "emostream"]
        result = CliRunner().invoke(module.main, ["--data", str(write_sets(tmp_path / "data")), *arguments])
        assert result.exit_code == 128 + signal.SIGTERM
        assert module.Servers.stopped

    def test_an_unknown_system_is_a_usage_error(self) -> None:
        result = bench("--systems", "flink")
        assert result.exit_code == 2
        assert "'flink' is not one of" in result.output
