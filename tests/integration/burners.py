"""Processes that use all the processor time they get, and counters in which nothing but the test's processes counts."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from connectors.machine.load import LoadReader, Machine
from connectors.machine.own_load import parse_stat
from connectors.machine.sample import Sample
from tests.integration.support import wait_for

PROCESSORS = psutil.cpu_count() or 1
CALIBRATION_S = 1.0


class Burners:
    """One process for each processor. They rest until they are told to burn."""

    def __init__(self) -> None:
        self._processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(PROCESSORS)]
        self.rest()

    @property
    def pids(self) -> list[int]:
        return [one.pid for one in self._processes]

    def burn(self) -> float:
        """Start to burn; returns the time, on the clock of samples."""
        begin = time.monotonic()
        for one in self._processes:
            one.send_signal(signal.SIGCONT)
        return begin

    def rest(self) -> None:
        for one in self._processes:
            one.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        for one in self._processes:
            one.kill()
            one.wait()


class Processes(Machine):
    """Some processes, measured as if they were the whole machine.

    The capacity is what they use at full speed, divided by `share`. Other work on the machine lowers it.
    """

    def __init__(self, pids: Iterable[int], own: Callable[[], float] = time.process_time) -> None:
        super().__init__()
        self._used = dict.fromkeys(pids, 0.0)
        self._most = float(PROCESSORS)
        self.share = 1.0
        self.own = own

    def used(self) -> float:
        """Returns the processor seconds of the processes, without the sink's own."""
        for pid in self._used:
            with contextlib.suppress(OSError):  # one that has ended used what it used
                self._used[pid] = parse_stat(Path(f"/proc/{pid}/stat").read_text()).used
        return sum(self._used.values())

    def busy(self) -> float:
        return self.used() + self.own()

    def capacity(self) -> float:
        return self._most / self.share

    def calibrate(self) -> None:
        """Measure what the processes use at full speed."""
        at, used = time.monotonic(), self.used()
        time.sleep(CALIBRATION_S)
        self._most = (self.used() - used) / (time.monotonic() - at)


class SampleCounter(LoadReader):
    """Counts the samples that it has taken."""

    samples = 0

    def read(self) -> Sample:
        sample = super().read()
        self.samples += 1
        return sample

    def wait(self, samples: int) -> None:
        """Wait until `samples` more samples were taken."""
        until = self.samples + samples
        wait_for(lambda: self.samples >= until, what="the gate takes no samples")
