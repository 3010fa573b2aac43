"""Samples the processor time and the memory of groups of processes while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import psutil

INTERVAL_S = 0.2
"""Seconds between two samples."""


class Meter:
    """Takes samples in a thread while it is entered. A context manager."""

    def __init__(self, groups: Mapping[str, int], alone: Collection[str] = ()) -> None:
        """Prepare; the first sample is taken when the meter is entered.

        Args:
            groups: the process id of each group, by name. The children of the process belong to its group.
            alone: names of groups whose process has no children. Listing children reads every process of the machine.
        """
        self._alone = frozenset(alone)
        self._roots = {name: psutil.Process(pid) for name, pid in groups.items()}
        self._spent: dict[str, dict[tuple[int, float], float]] = {name: {} for name in groups}
        self._cpu: dict[str, list[tuple[float, float]]] = {name: [] for name in groups}
        self._peak = dict.fromkeys(groups, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def cpu_s(self, name: str, begin: float, end: float) -> float:
        """Returns the seconds of processor time of a group between two times, in seconds since 1970."""
        samples = self._cpu[name]
        return value_at(samples, end) - value_at(samples, begin)

    def peak_bytes(self, name: str) -> int:
        """Returns the largest resident memory of a group in a sample. Shared pages count for each process."""
        return self._peak[name]

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        for name, root in self._roots.items():
            memory = 0
            try:
                family = [root, *([] if name in self._alone else root.children(recursive=True))]
            except psutil.NoSuchProcess:
                family = []
            for process in family:
                try:
                    with process.oneshot():
                        times = process.cpu_times()
                        self._spent[name][process.pid, process.create_time()] = times.user + times.system
                        memory += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            # A process that has ended counts with the time of its last sample.
            self._cpu[name].append((time.time(), sum(self._spent[name].values())))
            self._peak[name] = max(self._peak[name], memory)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()


def value_at(samples: Sequence[tuple[float, float]], moment: float) -> float:
    """Returns a cumulative value at a time, interpolated between samples of (time, value) in order of time.

    Before the first sample and after the last it is the value of that sample.
    """
    return float(np.interp(moment, [when for when, _ in samples], [value for _, value in samples]))


def family_cpu_s(pid: int) -> float:
    """Returns the seconds of processor time of a process and its children.

    Children that have ended are included on systems that add their time to that of their parent, such as Linux.
    """
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
