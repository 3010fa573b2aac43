"""The cores of a machine are divided among workers and servers, and CPU quotas hold and are removed again."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import cgroups
from benchmarks.harness.cgroups import CpuShare, Location, NoCgroupError, _make_group, can_limit_cpu, find_locations
from benchmarks.harness.division import divide


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
