"""A run of the scaling benchmark counts every post, ends if the windows stall, and stops all that it started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import ModuleType
from typing import NoReturn, Self
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner

from benchmarks import bench_scaling, bench_servers
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.checks import Result
from benchmarks.harness.division import divide
from benchmarks.harness.posts import RawPost
from streams.settings import load_settings


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
        before = signal.getsignal(signal.SIGTERM)
        result = CliRunner().invoke(module.main, ["--data", str(tmp_path), "--posts", "10000", *more])
        assert result.exit_code == 128 + signal.SIGTERM, result.output
        assert left == ["servers"]
        assert signal.getsignal(signal.SIGTERM) == before
