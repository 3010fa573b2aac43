"""Capacity, busy time and stalls are read from the nearest cgroup with a quota, or else from the machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from connectors.errors import LoadError
from connectors.machine.cgroups import Mount, parse_mounts, parse_quota
from connectors.machine.load import LoadReader, Machine, busy_of, find_source
from tests.machine_files import TMPFS, Cgroups, write

CPUS = 8
STAT = "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 3\n"
STALLS = "some avg10=1.00 avg60=0.50 avg300=0.10 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: CPUS)


@pytest.fixture
def cgroups(tmp_path: Path) -> Cgroups:
    return Cgroups(tmp_path)


def test_version_2_in_a_container(cgroups: Cgroups) -> None:
    pressure = {f"{resource}.pressure": STALLS.format(total) for resource, total in PRESSURE.items()}
    cgroups.version_2("/", {"cpu.max": "150000 100000\n", "cpu.stat": STAT, **pressure})
    source = find_source(cgroups.proc)
    assert (source.capacity(), source.busy(), source.stalls()) == (1.5, 2.5, (1.5, 0.25, 0.0))
    assert str(source) == "cgroup / (quota of 1.5 processors)"


PRESSURE = {"cpu": 1_500_000, "io": 250_000, "memory": 0}


def test_version_2_uses_the_nearest_group_with_a_quota(cgroups: Cgroups) -> None:
    cgroups.version_2(
        "/system.slice/app.slice/sink.service",
        {
            "system.slice/cpu.max": "600000 100000\n",
            "system.slice/app.slice/cpu.max": "200000 100000\n",
            "system.slice/app.slice/cpu.stat": STAT,
            "system.slice/app.slice/sink.service/cpu.max": "max 100000\n",
        },
    )
    source = find_source(cgroups.proc)
    assert str(source) == "cgroup /system.slice/app.slice (quota of 2 processors)"
    assert source.stalls() == ()


def test_version_2_with_only_a_part_of_the_tree_mounted(cgroups: Cgroups) -> None:
    cgroups.version_2("/docker/abc", {"cpu.max": "50000 100000\n", "cpu.stat": STAT}, root="/docker/abc")
    assert str(find_source(cgroups.proc)) == "cgroup /docker/abc (quota of 0.5 processors)"


def test_version_2_with_a_group_outside_of_the_mounted_part(cgroups: Cgroups) -> None:
    cgroups.version_2("/../../elsewhere", {"cpu.max": "50000 100000\n", "cpu.stat": STAT})
    write(cgroups.sys.parent, {"cpu.max": "70000 100000\n", "cpu.stat": STAT})
    assert str(find_source(cgroups.proc)) == "cgroup / (quota of 0.5 processors)"


def test_version_1(cgroups: Cgroups) -> None:
    cgroups.version_1(
        "/docker/abc",
        {
            "cpu/docker/abc/cpu.cfs_quota_us": "300000\n",
            "cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            "cpuacct/docker/abc/cpuacct.usage": "46585820853931\n",
        },
    )
    write(cgroups.proc, {f"pressure/{resource}": STALLS.format(total) for resource, total in PRESSURE.items()})
    source = find_source(cgroups.proc)
    assert (source.capacity(), source.busy(), source.stalls()) == (3.0, 46585.820853931, (1.5, 0.25, 0.0))


def test_version_1_with_a_quota_of_the_container_above_the_group(cgroups: Cgroups) -> None:
    cgroups.version_1(
        "/docker/abc/inner",
        {
            "cpu/inner/cpu.cfs_quota_us": "-1\n",
            "cpu/inner/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "100000\n",
            "cpu/cpu.cfs_period_us": "50000\n",
            "cpuacct/cpuacct.usage": "1000000000\n",
        },
        root="/docker/abc",
    )
    source = find_source(cgroups.proc)
    assert (source.capacity(), source.busy()) == (2.0, 1.0)
    assert str(source) == "cgroup /docker/abc (quota of 2 processors)"


@pytest.mark.parametrize("version", [1, 2])
def test_without_a_quota_the_machine_is_measured(cgroups: Cgroups, version: int) -> None:
    if version == 1:
        cgroups.version_1("/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"})
    else:
        cgroups.version_2("/a", {"a/cpu.max": "max 100000\n", "a/cpu.stat": STAT})
    source = find_source(cgroups.proc)
    assert str(source) == "the machine (8 processors)"
    assert source.capacity() == CPUS


def test_without_cgroups_the_machine_is_measured(tmp_path: Path) -> None:
    assert isinstance(find_source(tmp_path), Machine)


def test_a_quota_is_read_each_time_and_is_at_most_the_machine(cgroups: Cgroups) -> None:
    cgroups.version_2("/", {"cpu.max": "150000 100000\n", "cpu.stat": STAT})
    source = find_source(cgroups.proc)
    for text, capacity in [("400000 100000", 4.0), ("2000000 100000", 8.0), ("max 100000", 8.0)]:
        write(cgroups.sys, {"cpu.max": text})
        assert source.capacity() == capacity


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"cpu.max": "lots\n", "cpu.stat": STAT}, id="a malformed quota"),
        pytest.param({"cpu.max": "100000 0\n", "cpu.stat": STAT}, id="no period"),
        pytest.param({"cpu.max": "100000 100000\n"}, id="no usage"),
        pytest.param({"cpu.max": "100000 100000\n", "cpu.stat": "nr_periods 0\n"}, id="usage without a number"),
    ],
)
def test_a_quota_without_readable_files_is_an_error(cgroups: Cgroups, files: dict[str, str]) -> None:
    cgroups.version_2("/", files)
    with pytest.raises(LoadError) as caught:
        find_source(cgroups.proc)
    assert "\n" not in str(caught.value)


def test_counters_that_disappear_later_are_an_error(cgroups: Cgroups) -> None:
    cgroups.version_2("/", {"cpu.max": "100000 100000\n", "cpu.stat": STAT})
    reader = LoadReader(find_source(cgroups.proc))
    reader.read()
    (cgroups.sys / "cpu.stat").unlink()
    with pytest.raises(LoadError, match=r"cpu\.stat"):
        reader.read()


def test_a_machine_without_counters_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nowhere")
    with pytest.raises(LoadError, match="load of the machine"):
        Machine().busy()


def test_a_missing_pressure_is_an_error_if_it_is_needed(tmp_path: Path) -> None:
    source = Machine(tmp_path)
    assert LoadReader(source).read().stalled == ()
    with pytest.raises(LoadError, match="EMOSTREAM_SINK_PRESSURE_PERCENT"):
        LoadReader(source, need_pressure=True).read()


def test_a_malformed_pressure_is_unknown(tmp_path: Path) -> None:
    write(tmp_path, {f"pressure/{resource}": "none\n" for resource in PRESSURE})
    assert Machine(tmp_path).stalls() == ()


def test_busy_time_is_all_but_idle_time_and_counts_guests_once() -> None:
    linux = SimpleNamespace(
        user=1.0, nice=2.0, system=4.0, idle=512.0, iowait=256.0, irq=8.0, softirq=16.0, steal=32.0, guest=64.0
    )
    assert busy_of(linux) == 63.0
    assert busy_of(SimpleNamespace(user=1.0, nice=2.0, system=4.0, idle=512.0)) == 7.0


def test_samples_of_this_machine() -> None:
    reader = LoadReader(Machine())
    first, second = reader.read(), reader.read()
    assert second.at > first.at
    assert second.busy >= first.busy - 1
    assert second.own >= first.own


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "x 1"])
def test_a_malformed_quota_is_refused(text: str) -> None:
    with pytest.raises(LoadError):
        parse_quota(text)


def test_mounts_of_two_controllers_in_one() -> None:
    text = "33 31 0:29 /docker/a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    mounts = parse_mounts(TMPFS + text)
    assert mounts["cpu"] == mounts["cpuacct"] == Mount(Path("/sys/fs/cgroup/cpu,cpuacct"), "/docker/a")


@pytest.mark.parametrize(
    ("path", "inside"), [("/app", True), ("/app/db", True), ("/apple", False), ("/", False), ("/app/../x", False)]
)
def test_which_processes_a_cgroup_holds(cgroups: Cgroups, path: str, inside: bool) -> None:
    cgroups.version_2("/app", {"app/cpu.max": "100000 100000\n", "app/cpu.stat": STAT})
    write(cgroups.proc, {"55/cgroup": f"0::{path}\n"})
    source = find_source(cgroups.proc)
    assert source.holds(55) is inside
    assert not source.holds(56)
