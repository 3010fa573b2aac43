"""The soak: its figures, limits, chart and samples."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import redis
from click.testing import CliRunner

from benchmarks import soak
from benchmarks.soak import SamplingError, memory_of, redis_memory, scrape
from benchmarks.soak_figures import MIB, Sample, Summary, exceeded_limit, slope_of, summarize
from benchmarks.soak_plot import plot
from connectors.local import ports
from tests.helpers import make_settings


def samples(
    minutes: float, *, slope: float = 0.0, start_mib: float = 200, noise_mib: float = 0.0, warm_mib: float = 0.0
) -> list[Sample]:
    """Returns a sample for every 3 s. Memory grows by `slope` MiB an hour, and by `warm_mib` in the first tenth."""
    rng = random.Random(1)
    found = []
    for number in range(int(minutes * 20) + 1):
        at = 3.0 * number
        warm = warm_mib * min(1.0, at / (6 * minutes))
        mib = start_mib + warm + slope * at / 3_600 + rng.uniform(-noise_mib, noise_mib)
        found.append(Sample(at, int(mib * MIB), 10_000_000, 1_000 + int(at * 500), 1_000 + int(at * 490), 10_000))
    return found


class TestFigures:
    def test_the_slope_is_the_growth_an_hour(self) -> None:
        assert slope_of(samples(30, slope=12.5)) == pytest.approx(12.5, abs=0.01)
        assert slope_of(samples(30, slope=-3)) == pytest.approx(-3, abs=0.01)

    def test_noise_hardly_changes_the_slope(self) -> None:
        assert slope_of(samples(30, noise_mib=10)) == pytest.approx(0, abs=5)

    def test_memory_of_the_warm_up_is_not_growth(self) -> None:
        found = summarize(samples(30, warm_mib=100))
        assert found.slope == pytest.approx(0, abs=0.1)
        assert found.rss_mb == pytest.approx(300 * MIB / 1e6, rel=1e-3)

    def test_the_other_figures(self) -> None:
        found = summarize(samples(30))
        assert found.minutes == 30
        assert found.posts == 1_000 + 1_800 * 500
        assert found.per_second == pytest.approx(500)
        assert found.redis_mb == 10
        assert found.most_waiting == 10_000
        assert found.most_behind == 1_800 * 10

    def test_two_samples_have_no_slope(self) -> None:
        assert math.isnan(slope_of(samples(0.05)))


class TestLimits:
    found = Summary(30, 1_000_000, 500, 300, 5, 100, 10_000, 500)

    def test_a_run_within_its_limits(self) -> None:
        assert exceeded_limit(self.found, limit_mb=400, limit_slope=20) is None

    def test_too_much_memory(self) -> None:
        exceeded = exceeded_limit(replace(self.found, rss_mb=401), limit_mb=400, limit_slope=20)
        assert exceeded == "the worker used 401 MB of memory; the limit is 400 MB (--max-rss)"

    def test_growth(self) -> None:
        exceeded = exceeded_limit(replace(self.found, slope=20.1), limit_mb=400, limit_slope=20)
        assert exceeded == "the worker's memory grew by 20.1 MiB an hour; the limit is 20 (--max-slope)"

    def test_of_a_short_run_only_the_memory_is_checked(self) -> None:
        short = replace(self.found, minutes=5, slope=500)
        assert exceeded_limit(short, limit_mb=400, limit_slope=20) is None
        assert exceeded_limit(replace(short, rss_mb=500), limit_mb=400, limit_slope=20) is not None


def test_the_chart_is_a_png(tmp_path: Path) -> None:
    plot(samples(30), tmp_path / "soak.png", limit_mb=400)
    assert (tmp_path / "soak.png").read_bytes()[1:4] == b"PNG"


def test_a_folder_without_data_sets_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(soak.main, ["--data", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


class TestSampling:
    def ended_process(self) -> int:
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        return process.pid

    def test_a_worker_that_has_ended_is_one_line(self) -> None:
        with pytest.raises(SamplingError, match=r"^the memory of process \d+ cannot be read: .*$"):
            memory_of(self.ended_process())

    def test_a_child_that_has_just_ended_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            gone = psutil.Process(child.pid)
            child.communicate(b"\n")
        own = psutil.Process().memory_info().rss
        monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [gone])
        assert memory_of(psutil.Process().pid) == pytest.approx(own, rel=0.2)

    def test_a_server_that_does_not_answer_is_one_line(self) -> None:
        port = ports.choose(["unused"], {}, set())["unused"]
        with (
            redis.Redis(port=port) as client,
            pytest.raises(SamplingError, match=r"^the memory of Redis cannot be read: .*refused"),
        ):
            redis_memory(client)
        with pytest.raises(SamplingError, match=r"^the worker's metrics cannot be read: .*refused"):
            scrape(make_settings(web_port=port))
