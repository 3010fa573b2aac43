"""The sink under a real load, with the real Postgres: it writes only while everybody else is quiet.

As in `test_cpu_gate_load`, what is measured is not the machine, on which other things may run, but the processes of
the test as if they were all there is: those that make the load, and the sink's own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from connectors.kafka.producer import ConfirmedProducer
from connectors.machine.load import LoadReader, Machine
from connectors.machine.own_load import OwnLoad, parse_stat
from streams.settings import Settings
from streams.sink.gate.cpu_aware import CpuAwareGate
from streams.sink.gate.rule import GateRule
from streams.sink.runner import Sink
from tests.integration.support import wait_for
from tests.integration.test_sink import feed, rows

pytestmark = pytest.mark.alone

PROCESSORS = psutil.cpu_count() or 1
SHARE = 0.6
"""Of the capacity that the load takes."""

LONG = "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ
BUSY_S = 60.0 if LONG else 6.0
CALM_S = 1.0
YIELD_S = 1.0


class Load(Machine):
    """Processes that burn what they get while they are not stopped; together they make 60 % of the capacity."""

    def __init__(self) -> None:
        super().__init__()
        self._processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(PROCESSORS)]
        self._capacity = float(PROCESSORS)
        self.own: OwnLoad | None = None

    def _used(self) -> float:
        return sum(parse_stat(Path(f"/proc/{one.pid}/stat").read_text()).used for one in self._processes)

    def busy(self) -> float:
        return self._used() + (0.0 if self.own is None else self.own.seconds())

    def capacity(self) -> float:
        return self._capacity

    def calibrate(self) -> None:
        time.sleep(0.3)
        at, used = time.monotonic(), self._used()
        time.sleep(2)
        self._capacity = (self._used() - used) / (time.monotonic() - at) / SHARE

    def rest(self) -> None:
        for one in self._processes:
            one.send_signal(signal.SIGSTOP)

    def work(self) -> None:
        for one in self._processes:
            one.send_signal(signal.SIGCONT)

    def end(self) -> None:
        for one in self._processes:
            one.kill()
            one.wait()


@pytest.fixture
def load() -> Iterator[Load]:
    found = Load()
    found.calibrate()
    yield found
    found.end()


@pytest.fixture
def sink(settings: Settings, load: Load) -> Iterator[Sink]:
    """Runs in a thread of the test."""
    reader = LoadReader(load)
    load.own = reader.own
    running = Sink(settings, gate=CpuAwareGate(GateRule(limit=0.2, calm_s=CALM_S), reader))
    stop = threading.Event()
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    yield running
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_not_a_row_is_written_while_the_machine_is_busy(
    settings: Settings, load: Load, sink: Sink, producer: ConfirmedProducer
) -> None:
    sent = 0
    deadline = time.monotonic() + BUSY_S
    while time.monotonic() < deadline:
        feed(producer, settings, sent, 400)
        sent += 400
        assert rows(settings) == 0, sink.gate.state
        time.sleep(0.5)
    posts = sink.topics[0]
    # It looks every few seconds, and joins its group first.
    wait_for(lambda: (posts.oldest_s or 0) > BUSY_S / 2, seconds=20, what="the sink does not see its backlog")
    assert sum(one.records for one in posts.backlog) > 0
    assert rows(settings) == 0

    load.rest()
    # Each of the 400 covers four partitions; the calm, and then a second or so for what waits.
    wait_for(lambda: rows(settings) == sent, seconds=CALM_S + 20, what="the backlog does not go in")


def test_writing_stops_within_a_second_of_each_pulse_of_load(
    settings: Settings, load: Load, sink: Sink, producer: ConfirmedProducer
) -> None:
    """The backlog never ends, so that a pulse always meets a sink that is writing."""
    load.rest()
    written = sink.metrics.written.labels(settings.topic_classified)
    seen: list[tuple[float, float]] = []
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.02):
            seen.append((time.monotonic(), written._value.get()))

    def fill() -> None:
        first = 0
        while not end.is_set():
            feed(producer, settings, first, 400)
            first += 400
            end.wait(0.1)

    threads = [threading.Thread(target=target) for target in (watch, fill)]
    for thread in threads:
        thread.start()
    pulses = []
    try:
        for _ in range(4 if LONG else 2):
            before = written._value.get()
            wait_for(lambda before=before: written._value.get() > before + 400, seconds=30, what="nothing is written")
            begin = time.monotonic()
            load.work()
            time.sleep(3)
            load.rest()
            pulses.append((begin, time.monotonic()))
    finally:
        end.set()
        for thread in threads:
            thread.join()

    late = [
        (round(at - begin, 2), count - before)
        for begin, stopped in pulses
        for (_, before), (at, count) in pairwise(seen)
        if begin + YIELD_S < at < stopped and count > before
    ]
    assert late == [], "seconds after the begin of a pulse, and the records that were written then"
