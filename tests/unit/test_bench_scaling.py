"""The scaling benchmark: the division of a machine, its report, and the page that is computed from costs."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NoReturn, Self
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner
from click.testing import Result as CommandResult

from benchmarks import bench_scaling, bench_servers, scaling_page
from benchmarks.harness import cgroups
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.cgroups import CpuShare, Location, NoCgroupError, _make_group, can_limit_cpu, find_locations
from benchmarks.harness.checks import Check, Result
from benchmarks.harness.division import divide
from benchmarks.harness.posts import RawPost
from benchmarks.harness.stats import Spread
from benchmarks.scaling_costs import CostsError, read_costs
from benchmarks.scaling_figures import Run, Scaling, markdown
from benchmarks.scaling_plot import plot
from streams.settings import load_settings

ROOT = Path(__file__).parents[2]
COSTS = ROOT / "benchmarks" / "scaling_costs.json"
RIGHT = Check(0, 0, 0, None)


class TestDivision:
    def test_with_enough_cores_each_worker_has_its_own(self) -> None:
        found = divide(range(6), (1, 2, 4), quotas=True)
        assert found.share is None
        assert [found.cores_of(worker) for worker in range(4)] == [(0,), (1,), (2,), (3,)]
        assert found.servers == (4, 5)

    def test_with_fewer_cores_workers_have_quotas(self) -> None:
        found = divide({0, 1}, (1, 2, 4), quotas=True)
        assert (found.share, found.counts) == (0.25, (1, 2, 4))
        assert found.cores_of(0) == found.cores_of(3) == (0,)
        assert found.servers == (1,)
        assert "too few for 4 workers" in found.note

    def test_all_quotas_together_are_at_most_the_workers_cores(self) -> None:
        for cores in range(2, 9):
            found = divide(range(cores), (1, 2, 8), quotas=True)
            if found.share is not None:
                assert found.share * 8 <= len(found.workers) + 1e-9
                assert not set(found.workers) & set(found.servers)

    def test_without_quotas_only_numbers_of_workers_with_enough_cores_are_measured(self) -> None:
        found = divide(range(3), (1, 2, 4), quotas=False)
        assert found.counts == (1, 2)
        assert "not measured with 4 workers" in found.note

    def test_one_core(self) -> None:
        with pytest.raises(ValueError, match="this machine has one"):
            divide({0}, (1,), quotas=True)


class TestGroups:
    cpu = Path("/sys/fs/cgroup/cpu")
    root = Path("/sys/fs/cgroup")

    def test_version_1(self) -> None:
        mounts = f"cgroup {self.root}/memory cgroup rw,memory 0 0\ncgroup {self.cpu} cgroup rw,cpu,cpuacct 0 0\n"
        origins = (self.cpu / "a/b", self.cpu)
        found = find_locations(mounts, "4:cpu,cpuacct:/a/b\n3:memory:/m\n")
        # The second is for a container that has the host's paths and its own mounts.
        assert found == [Location(self.cpu / "a/b", 1, origins), Location(self.cpu, 1, origins)]

    def test_version_2_tries_the_own_group_and_those_above_and_its_origin_is_the_own_group(self) -> None:
        mounts = f"cgroup2 {self.root} cgroup2 rw 0 0\n"
        found = find_locations(mounts, "0::/user/job\n")
        assert [location.parent for location in found] == [self.root / "user/job", self.root / "user", self.root]
        assert {location.origins for location in found} == {(self.root / "user/job", self.root)}

    def test_groups_above_the_mount_point_are_not_tried(self) -> None:
        mounts = f"cgroup2 {self.root} cgroup2 rw 0 0\ncgroup {self.cpu} cgroup rw,cpu 0 0\n"
        assert find_locations(mounts, "1:cpu:/\n0::/\n") == [
            Location(self.root, 2, (self.root,)),
            Location(self.cpu, 1, (self.cpu,)),
        ]

    def test_without_control_groups_there_is_no_location(self) -> None:
        assert find_locations("proc /proc proc rw 0 0\n", "") == []

    def test_a_folder_that_is_not_a_group_is_removed_again(self, tmp_path: Path) -> None:
        for version in (1, 2):
            assert not _make_group(tmp_path / "group", version, 0.2)
        assert not _make_group(tmp_path / "absent" / "group", 2, 0.2)
        assert list(tmp_path.iterdir()) == []

    def test_a_share_limits_its_processes_and_is_removed(self) -> None:
        try:
            share = CpuShare(0.2)
        except NoCgroupError:
            pytest.skip("needs root, and control groups with CPU quotas")
        # The quota is in the units of a period, whichever version this is.
        quota = next(file for name in ("cpu.max", "cpu.cfs_quota_us") if (file := share._folder / name).is_file())
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            groups = Path(f"/proc/{child.pid}/cgroup")
            before = groups.read_text()
            with share:
                assert int(quota.read_text().split()[0]) == 10_000
                share.add(child.pid)
                assert list(share.processes()) == [child.pid]
                assert groups.read_text() != before
            # The process still runs, in its former group.
            assert not share._folder.exists()
            assert child.poll() is None
            assert groups.read_text() == before
        finally:
            child.kill()
            child.wait()
        assert can_limit_cpu()

    def test_without_a_way_back_to_the_former_group_there_are_no_shares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Stuck:
            def __init__(self, cores: float) -> None: ...

            def __enter__(self) -> Stuck:
                return self

            def __exit__(self, *_: object) -> None:
                raise OSError(errno.EBUSY, "Device or resource busy")

            def add(self, pid: int) -> None: ...

        monkeypatch.setattr(cgroups, "CpuShare", Stuck)
        assert not can_limit_cpu()


def scaling(*runs: Run) -> Scaling:
    return Scaling({"cores": 8}, {"rounds": 2}, "each worker has its own core", runs)


class TestStall:
    def test_windows_that_stop_growing_end_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        progress = bench_scaling._Progress("were in the windows", 100, [])
        assert not progress.complete(10)
        now = bench_scaling.STALL_S
        assert not progress.complete(10)
        assert not progress.complete(11)
        now = 2 * bench_scaling.STALL_S + 1
        with pytest.raises(BenchmarkError, match="11 of 100 posts were in the windows, then no more for 120 s"):
            progress.complete(11)
        assert progress.complete(100)


class _Recorded:
    """A context manager that notes when it exits."""

    pid = 1

    def add(self, pid: int) -> None: ...

    def __init__(self, name: str, left: list[str]) -> None:
        self.name, self._left = name, left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.append(self.name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[bench_scaling.Bench, list[str]]:
    """A benchmark that starts nothing, on a machine of two cores, and the names of what exited, in order."""
    left: list[str] = []
    meter = MagicMock()
    meter.__enter__.return_value.cpu_s.return_value = 1.0
    monkeypatch.setattr(bench_scaling, "Meter", lambda *_, **__: meter)
    monkeypatch.setattr(bench_scaling, "CpuShare", lambda cores: _Recorded("share", left))
    monkeypatch.setattr(bench_scaling, "Role", lambda name, *_, **__: _Recorded(name, left))
    monkeypatch.setattr(bench_scaling, "pin", lambda pid, cores: None)
    found = bench_scaling.Bench(MagicMock(), MagicMock(), divide({0, 1}, (1, 2, 4), quotas=True), 4, tmp_path)
    monkeypatch.setattr(found, "_prepare", lambda: (load_settings(env_file=None, environ={}), {}))
    return found, left


class TestRun:
    def test_the_clock_stops_when_the_windows_have_every_post(
        self, monkeypatch: pytest.MonkeyPatch, bench: tuple[bench_scaling.Bench, list[str]]
    ) -> None:
        found, left = bench
        posts = [RawPost(f"post-{number}", b"{}") for number in range(2_000)]

        async def complete(*_: object) -> float:
            # The workers still run.
            assert not left
            return 40.0

        monkeypatch.setattr(found, "_await_members", lambda *_: None)
        monkeypatch.setattr(found, "_await_results", lambda *_: None)
        monkeypatch.setattr(found, "_await_windows", complete)
        results = [Result(number / 100, post.id, "joy") for number, post in enumerate(posts)]
        monkeypatch.setattr(found._kafka, "read", lambda topic: results)
        run = found.run(posts, 2, 1)
        # The posts were classified in 20 s. The first tenth is left out.
        assert run.per_second == pytest.approx(1_800 / 38, rel=0.01)
        assert run.lag_s == pytest.approx(20, abs=0.1)
        assert run.check.exactly_once

    def test_workers_are_stopped_before_their_shares_are_removed(
        self, monkeypatch: pytest.MonkeyPatch, bench: tuple[bench_scaling.Bench, list[str]]
    ) -> None:
        found, left = bench

        def no_members(*_: object) -> None:
            raise BenchmarkError("no members")

        monkeypatch.setattr(found, "_await_members", no_members)
        with pytest.raises(BenchmarkError, match="no members"):
            found.run([], 2, 1)
        assert left == ["worker-1", "worker-0", "share", "share"]

    @pytest.mark.parametrize("module", [bench_scaling, bench_servers])
    def test_sigterm_stops_the_servers(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: ModuleType
    ) -> None:
        more = ["--work", str(tmp_path)] if module is bench_scaling else []
        left: list[str] = []

        def interrupted(*_: object, **__: object) -> NoReturn:
            with _Recorded("servers", left):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            raise AssertionError("SIGTERM had no effect")

        monkeypatch.setattr(module, "read_texts", lambda folder: ["a"])
        monkeypatch.setattr(bench_scaling, "can_limit_cpu", lambda: False)
        monkeypatch.setattr(bench_scaling, "_cores", lambda: {0, 1, 2})
        monkeypatch.setattr(module, "Servers", interrupted)
        result = CliRunner().invoke(module.main, ["--data", str(tmp_path), "--posts", "10000", *more])
        assert result.exit_code == 128 + signal.SIGTERM, result.output
        assert left == ["servers"]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class TestFigures:
    found = scaling(
        Run(1, 1, 100, 0.3, 3, 0.1, 0.2, RIGHT),
        Run(1, 2, 190, 0.3, 3, 0.1, 0.3, RIGHT),
        Run(2, 1, 110, 0.5, 3, 0.1, 0.2, RIGHT),
        Run(2, 2, 220, 4.0, 3, 0.1, 0.3, RIGHT),
    )

    def test_linear_is_computed_for_each_round(self) -> None:
        assert self.found.linear(2) == Spread(pytest.approx(0.975), pytest.approx(0.95), pytest.approx(1.0))
        assert self.found.linear(1) == Spread(1, 1, 1)
        assert json.loads(json.dumps(self.found.to_dict()))["medians"]["2"]["per_second"]["median"] == 205

    def test_the_table(self) -> None:
        text = markdown(self.found)
        assert "| 2 | 205 (190 to 220) | 0.97 (0.95 to 1.00) | 2.1 (0.3 to 4.0) |" in text
        assert "Every post has exactly one result" in text
        assert "Each worker has its own core." in text

    def test_lost_posts_are_reported(self) -> None:
        wrong = scaling(Run(1, 4, 100, 0.3, 3, 0.1, 0.2, Check(3, 1, 0, None)))
        assert wrong.faults() == ["round 1, 4 workers: 3 lost, 1 duplicated, 0 unknown"]
        assert wrong.faults()[0] in markdown(wrong)

    def test_the_chart_is_a_png(self, tmp_path: Path) -> None:
        plot({1: Spread(100, 90, 110), 2: Spread(190, 180, 200)}, tmp_path / "scaling.png")
        assert (tmp_path / "scaling.png").read_bytes()[1:4] == b"PNG"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page without the simulation, which takes seconds."""
    monkeypatch.setattr(scaling_page, "simulation_table", lambda inputs: "| a table |")


class TestPage:
    def run(self, *arguments: str) -> CommandResult:
        return CliRunner().invoke(scaling_page.main, list(arguments))

    def test_the_page_is_up_to_date_with_its_costs(self) -> None:
        result = self.run("--check")
        assert result.exit_code == 0, result.output

    @pytest.mark.usefixtures("quick")
    def test_other_costs_give_another_page(self, tmp_path: Path) -> None:
        content = json.loads(COSTS.read_text())
        content["costs"]["classify_us"]["value"] *= 2
        (tmp_path / "costs.json").write_text(json.dumps(content))
        result = self.run("--check", "--costs", str(tmp_path / "costs.json"))
        assert result.exit_code == 1
        assert "out of date" in result.output

    @pytest.mark.usefixtures("quick")
    def test_measurements_are_filled_in(self, tmp_path: Path) -> None:
        page = tmp_path / "scaling.md"
        page.write_text((ROOT / "docs" / "scaling.md").read_text())
        (tmp_path / "scaling.json").write_text(json.dumps(TestFigures.found.to_dict()))
        result = self.run("--page", str(page), "--scaling", str(tmp_path / "scaling.json"))
        assert result.exit_code == 0, result.output
        assert "| 2 | 205 (190 to 220) | 0.97 (0.95 to 1.00) |" in page.read_text()
        assert self.run("--page", str(page), "--check").exit_code == 0

    @pytest.mark.usefixtures("quick")
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("[1]", "is not what bench_scaling.py --json writes"),
            ("{", "is not what bench_scaling.py --json writes"),
            ("{}", "'medians' is missing"),
            ('{"medians": {"1": {"per_second": 3, "of_linear": null}}}', "is not what bench_scaling.py --json writes"),
            ('{"medians": {"1": {"per_second": {"median": "x"}, "of_linear": null}}}', "is not what bench_scaling.py"),
            (
                '{"medians": {"1": {"per_second": {"median": "x", "low": 1, "high": 1}, "of_linear": null}}}',
                "is not what bench_scaling.py",
            ),
        ],
    )
    def test_a_file_that_bench_scaling_did_not_write(self, tmp_path: Path, content: str, problem: str) -> None:
        (tmp_path / "scaling.json").write_text(content)
        page = tmp_path / "scaling.md"
        page.write_text((ROOT / "docs" / "scaling.md").read_text())
        before = page.read_text()
        result = self.run("--page", str(page), "--scaling", str(tmp_path / "scaling.json"))
        assert result.exit_code == 1
        assert problem in result.output
        assert len(result.output.splitlines()) == 1
        assert page.read_text() == before

    @pytest.mark.usefixtures("quick")
    def test_a_page_without_markers(self, tmp_path: Path) -> None:
        (tmp_path / "page.md").write_text("# Nothing\n")
        result = self.run("--page", str(tmp_path / "page.md"))
        assert result.exit_code == 1
        assert "the page has 0 blocks <!-- costs:begin -->" in result.output

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("{", "not a costs file"),
            ("{}", "not a costs file"),
            ("[]", "not a costs file"),
            ('{"costs": []}', "not a costs file"),
            ('{"costs": {}}', "costs must be"),
        ],
    )
    def test_a_file_that_is_not_a_costs_file(self, tmp_path: Path, content: str, problem: str) -> None:
        (tmp_path / "costs.json").write_text(content)
        with pytest.raises(CostsError, match=problem):
            read_costs(tmp_path / "costs.json")
        with pytest.raises(CostsError, match="cannot read"):
            read_costs(tmp_path / "absent.json")

    @pytest.mark.parametrize(
        ("part", "value", "problem"),
        [
            ("waits_s", [], "waits_s must be"),
            ("waits_s", [0, 1], "waits_s must be"),
            ("tables", {"keywords": 5}, "not a costs file"),
            ("tables", {"keywords": 5, "keywords_per_post": 1, "window_sizes": "soon"}, "not a costs file"),
        ],
    )
    def test_assumptions_that_are_wrong(self, tmp_path: Path, part: str, value: object, problem: str) -> None:
        content = json.loads(COSTS.read_text())
        content["assumed"][part] = value
        (tmp_path / "costs.json").write_text(json.dumps(content))
        with pytest.raises(CostsError, match=problem):
            read_costs(tmp_path / "costs.json")
