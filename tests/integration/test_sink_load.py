"""The sink under a real load, with the real Postgres: it writes only while everybody else is quiet.

As in `test_cpu_gate_load`, what is measured is not the machine, on which other things may run, but the processes of
the test as if they were all there is: those that make the load, and the sink's own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from connectors.kafka.producer import ConfirmedProducer
from streams.gate.cpu_aware import CpuAwareGate
from streams.gate.rule import GateReason, GateRule
from streams.settings import Settings
from streams.sink.runner import Sink, open_sink
from tests.integration.burners import Burners, Processes, SampleCounter
from tests.integration.support import TIMEOUT_S, wait_for
from tests.integration.test_sink import feed, rows

pytestmark = pytest.mark.alone

LIMIT, SHARE = 0.1, 0.6
"""What the load takes of the capacity is six times the limit, so that it stays above it while others work too."""

LONG = "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ
BUSY_FEEDS = 60 if LONG else 4
PULSES = 6 if LONG else 3
YIELD_S = 1.0
SAMPLES = 8
"""Samples of the gate, eight a second."""


@pytest.fixture
def load(burners: Burners) -> SampleCounter:
    """Reads the load of the burners, which are at work, and of the sink's own processes."""
    source = Processes(burners.pids)
    burners.burn()
    source.calibrate()
    source.share = SHARE
    found = SampleCounter(source)
    source.own = found.own.seconds
    return found


@pytest.fixture
def sink(settings: Settings, load: SampleCounter) -> Iterator[Sink]:
    """Runs in a thread of the test."""
    with open_sink(settings, gate=CpuAwareGate(GateRule(limit=LIMIT, calm_s=1.0), load)) as running:
        stop = threading.Event()
        thread = threading.Thread(target=running.run, args=(stop,))
        thread.start()
        yield running
        stop.set()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def test_not_a_row_is_written_while_the_machine_is_busy(
    settings: Settings, burners: Burners, load: SampleCounter, sink: Sink, producer: ConfirmedProducer
) -> None:
    wait_for(lambda: sink.gate.state.reason is GateReason.BUSY, what="the gate does not see the load")
    for number in range(BUSY_FEEDS):
        feed(producer, settings, number * 400, 400)
        load.wait(SAMPLES)
        assert rows(settings) == 0, sink.gate.state
    posts = sink.topics[0]
    waiting = BUSY_FEEDS * 440  # a tenth of them twice
    wait_for(lambda: sum(one.records for one in posts.backlog) == waiting, what="the sink does not see its backlog")
    assert posts.oldest_s is not None
    assert rows(settings) == 0

    burners.rest()
    wait_for(lambda: rows(settings) == BUSY_FEEDS * 400, what="the backlog does not go in")


class Writes:
    """Feeds the sink without an end, and records when it writes a slice."""

    def __init__(self, settings: Settings, sink: Sink, producer: ConfirmedProducer) -> None:
        self._settings = settings
        self._sink = sink
        self._producer = producer
        self._end = threading.Event()
        self._threads = [threading.Thread(target=target) for target in (self._watch, self._fill)]
        self.seen: list[float] = []
        """Times at which the number of slices rose, on the clock of samples."""

    def count(self) -> float:
        """The number of slices that were written."""
        labels = {"topic": self._settings.topic_classified}
        return self._sink.metrics.registry.get_sample_value("emostream_sink_write_seconds_count", labels) or 0

    def wait(self) -> None:
        """Wait until more slices are written."""
        before = self.count()
        wait_for(lambda: self.count() >= before + 2, what="nothing is written")

    def __enter__(self) -> Writes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        before = self.count()
        while not self._end.wait(0.02):
            if (now := self.count()) > before:
                self.seen.append(time.monotonic())
                before = now

    def _fill(self) -> None:
        first = 0
        while not self._end.wait(0.1):
            feed(self._producer, self._settings, first, 400)
            first += 400


def test_at_most_the_slice_in_hand_is_written_after_the_gate_has_closed(
    settings: Settings, burners: Burners, load: SampleCounter, sink: Sink, producer: ConfirmedProducer
) -> None:
    """The backlog never ends, so that the load always meets a sink that is writing."""
    burners.rest()
    with Writes(settings, sink, producer) as writes:
        for _ in range(PULSES - 1):
            writes.wait()
            burners.burn()
            wait_for(lambda: not sink.gate.is_open(), what="the gate does not close")
            before = writes.count()
            load.wait(2 * SAMPLES)
            assert writes.count() - before <= 1, sink.gate.state
            burners.rest()


def test_writing_stops_within_a_second_of_the_begin_of_the_load(
    settings: Settings, burners: Burners, load: SampleCounter, sink: Sink, producer: ConfirmedProducer
) -> None:
    """The best of several, since other work on the machine can hold up any one."""
    burners.rest()
    pulses = []
    with Writes(settings, sink, producer) as writes:
        for _ in range(PULSES):
            writes.wait()
            begin = burners.burn()
            wait_for(lambda: not sink.gate.is_open(), what="the gate does not close")
            load.wait(2 * SAMPLES)
            burners.rest()
            pulses.append((begin, time.monotonic()))
    took = [max((at - begin for at in writes.seen if begin < at < end), default=0.0) for begin, end in pulses]
    print(f"the last write came {', '.join(f'{one:.2f}' for one in took)} s after the start of the load")
    assert min(took) <= YIELD_S
