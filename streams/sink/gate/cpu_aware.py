"""Whether the sink may write now: asked before every slice, answered from the load of the last second.

`CpuAwareGate` runs the rule of `streams.sink.gate.rule` in a thread that reads the counters. It fails closed: counters
that are too old count as load, and a reader that fails stops the sink.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, Self

from connectors.machine.load import LoadReader
from streams.settings import Settings
from streams.sink.gate.rule import MAX_GAP_S, SAMPLE_S, GateReason, GateRule, GateState

logger = logging.getLogger(__name__)

CLOSED_POLL_S = 0.25
"""Between two looks at a closed gate."""

JOIN_S = 2.0
"""For the thread to end; a look takes a millisecond."""

OldestAge = Callable[[], float | None]
"""Age in seconds of the oldest record that is not written yet; None where there is none. Asked eight times a second."""


class Gate(Protocol):
    """Asked before every slice of writing; while it is closed the backlog stays in Kafka.

    A context, within which it works.
    """

    def __enter__(self) -> Self:
        """Begin to watch."""

    def __exit__(self, *exc_info: object) -> None:
        """Watch no longer."""

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Told a backend of Postgres that works for us, and the port of our end; whether it is told apart now."""

    def is_open(self) -> bool:
        """Whether a slice may be written now.

        Raises:
            EmostreamError: it can no longer be told.
        """

    @property
    def state(self) -> GateState:
        """The last decision; never raises."""

    @property
    def resets(self) -> int:
        """How often the load could not be told and the gate began anew."""


class OpenGate:
    """Always open: writes as records come. An operator's choice."""

    def __init__(self) -> None:
        self._state = GateState(True, GateReason.FORCED, None, None, time.time())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def add_backend(self, pid: int, port: int | None) -> bool:
        """False: it looks at no load."""
        return False

    def is_open(self) -> bool:
        """True."""
        return True

    @property
    def state(self) -> GateState:
        """Forced, since it was made."""
        return self._state

    @property
    def resets(self) -> int:
        """None: it looks at nothing."""
        return 0


class CpuAwareGate:
    """Open while everybody else's load is low. Thread-safe; use it as a context, or call `start` and `stop`."""

    def __init__(
        self,
        rule: GateRule,
        load: LoadReader,
        oldest_s: OldestAge = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A gate that is closed until it has been started and has seen enough.

        Args:
            rule: the rule.
            load: takes the samples.
            oldest_s: for the rule's deadline.
            clock: the one of the samples.
        """
        self._rule = rule
        self._load = load
        self._oldest_s = oldest_s
        self._clock = clock
        # A decision and when it was made, replaced as a whole, so that readers need no lock.
        self._last = (GateState(False, GateReason.STARTING, None, None, time.time()), clock())
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink-gate", daemon=True)

    def start(self) -> None:
        """Take the first sample and begin to watch.

        Raises:
            LoadError: the counters cannot be read.
        """
        self.take_sample()
        logger.info("the gate watches the load of %s", self._load.source)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the gate is closed from now on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def is_open(self) -> bool:
        """Whether a slice may be written now.

        Raises:
            LoadError: the counters could not be read any more.
        """
        if self._failure is not None:
            raise self._failure
        return self.state.is_open

    @property
    def state(self) -> GateState:
        """The last decision; closed where that is too old to act upon."""
        state, at = self._last
        age = self._clock() - at
        if state.is_open and (age > MAX_GAP_S or self._failure is not None or self._stop.is_set()):
            return GateState(False, GateReason.STARTING, None, None, time.time() - age)
        return state

    @property
    def resets(self) -> int:
        """How often the numbers could not be and the rule began anew."""
        return self._rule.resets

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Take the load of a Postgres backend off, see `OwnLoad.add_backend`; whether it can be seen from here."""
        if self._load.own.add_backend(pid, port):
            return True
        logger.info("Postgres's process %d is not in view: what it does here counts as load of others", pid)
        return False

    def drop_backend(self, pid: int) -> None:
        """The connection to this backend has ended."""
        self._load.own.drop_backend(pid)

    def take_sample(self) -> None:
        """Take a sample and decide; what the thread does every `SAMPLE_S`.

        Raises:
            LoadError: the counters cannot be read.
        """
        before, _ = self._last
        breaks = self._rule.resets
        sample = self._load.read()
        state = self._rule.update(sample, self._oldest_s())
        since = before.since if state.is_open == before.is_open else time.time()
        self._last = (replace(state, since=since), sample.at)
        if self._rule.resets > breaks and before.utilization is not None:
            logger.warning("no sample of the load for %.0f s, or one that cannot be: the gate begins anew", MAX_GAP_S)
        self._tell(before, state)

    def _tell(self, before: GateState, state: GateState) -> None:
        if state.reason is GateReason.OVERDUE and before.reason is not GateReason.OVERDUE:
            logger.warning("records have waited for too long in Kafka: writing whatever the load")
        elif before.reason is GateReason.OVERDUE and state.reason is not GateReason.OVERDUE:
            logger.warning("no record has waited for too long any more: writing while the load is low")
        elif state.is_open != before.is_open:
            logger.debug("the gate is %s: %s", "open" if state.is_open else "closed", state.reason)

    def _run(self) -> None:
        due = self._clock() + SAMPLE_S
        try:
            while not self._stop.wait(max(0.0, due - self._clock())):
                self.take_sample()
                due = max(due + SAMPLE_S, self._clock())  # a sample missed is not made up for
        except BaseException as exc:  # noqa: BLE001 - crosses from the thread to whoever asks
            self._failure = exc


def gate_for(settings: Settings, oldest_s: OldestAge = lambda: None) -> Gate:
    """The gate that the settings describe, not started; always open where they set no limit.

    Raises:
        LoadError: the cgroup's quota cannot be read.
    """
    pressure = settings.sink_pressure_percent
    if settings.sink_cpu_percent == 100 and pressure is None:
        return OpenGate()
    rule = GateRule(
        limit=settings.sink_cpu_percent / 100,
        calm_s=settings.sink_calm_s,
        pressure_limit=None if pressure is None else pressure / 100,
        max_delay_s=settings.sink_max_delay_s,
    )
    return CpuAwareGate(rule, LoadReader(need_pressure=pressure is not None), oldest_s)
