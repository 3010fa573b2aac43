"""Processor time and memory of groups of processes, sampled from outside while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import psutil

INTERVAL_S = 0.2


class Meter:
    """Samples while it is open: a context manager."""

    def __init__(self, groups: Mapping[str, int], alone: Collection[str] = ()) -> None:
        """Prepare.

        Args:
            groups: by name, the process whose time counts together with its children's.
            alone: names of those that have no children; to look for some reads every process of the machine.
        """
        self._alone = frozenset(alone)
        self._roots = {name: psutil.Process(pid) for name, pid in groups.items()}
        self._spent: dict[str, dict[tuple[int, float], float]] = {name: {} for name in groups}
        self._cpu: dict[str, list[tuple[float, float]]] = {name: [] for name in groups}
        self._peak = dict.fromkeys(groups, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def cpu_s(self, name: str, begin: float, end: float) -> float:
        """Seconds of processor time between two moments, in seconds since 1970."""
        samples = self._cpu[name]
        return value_at(samples, end) - value_at(samples, begin)

    def peak_bytes(self, name: str) -> int:
        """The most resident memory that the group had at once; pages that processes share count for each."""
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
            # One that has ended keeps what it had spent when it was last seen.
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
    """A cumulative figure at a moment, from samples of it in the order of time; flat beyond them."""
    return float(np.interp(moment, [when for when, _ in samples], [value for _, value in samples]))


def family_cpu_s(pid: int) -> float:
    """Seconds of processor time of a process and of all the children it ever had.

    Those that have ended count where the system adds their time to their parent's, as Linux does.
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
