"""The gate: says whether a role that leaves the machine to others, the sink or the warmer, may work now.

A thread of `CpuAwareGate` samples the CPU counters and applies the rule of `streams.gate.rule`. While the last
sample is too old, the gate is closed. If the counters cannot be read, the gate raises, and the role stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, Self

from connectors.machine.load import LoadReader
from streams.gate.rule import MAX_GAP_S, SAMPLE_S, GateReason, GateRule, GateState
from streams.settings import Settings

logger = logging.getLogger(__name__)

CLOSED_POLL_S = 0.25
"""Seconds between two checks of a closed gate."""

JOIN_S = 2.0
"""Seconds to wait for the thread to end. Taking a sample takes about a millisecond."""

WARM_CALM_S = 1.0
"""Seconds that the load must have been low before the warmer works. It is shorter than the sink's, because a refresh
takes some milliseconds and a batch of the sink may take a second."""

OldestAge = Callable[[], float | None]
"""Returns the age in seconds of the oldest record that waits to be written; None if none waits.

The gate calls it for each sample."""


class Gate(Protocol):
    """Says whether its role may work now. It is a context manager, and works while it is entered."""

    def __enter__(self) -> Self:
        """Begin to measure the load."""

    def __exit__(self, *exc_info: object) -> None:
        """Measure the load no longer."""

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Do not count the load of a Postgres backend that works for this role; see `OwnLoad.add_backend`.

        Returns whether the backend's load can be subtracted.
        """

    def is_open(self) -> bool:
        """Returns whether the role may work now.

        Raises:
            ConnectorError: The load can no longer be measured.
        """

    @property
    def state(self) -> GateState:
        """The last decision. Does not raise."""

    @property
    def resets(self) -> int:
        """How often the gate was reset since the start, because of implausible or missing samples."""


class OpenGate:
    """A gate that is always open: there is no limit on the load."""

    def __init__(self) -> None:
        self._state = GateState(True, GateReason.FORCED, None, None, time.time())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Returns False: this gate measures no load."""
        return False

    def is_open(self) -> bool:
        """Returns True."""
        return True

    @property
    def state(self) -> GateState:
        """Open and forced, since the construction."""
        return self._state

    @property
    def resets(self) -> int:
        """0: this gate has no samples, and is never reset."""
        return 0


class CpuAwareGate:
    """A gate that is open while the load of others is low. Thread-safe.

    Use it as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        rule: GateRule,
        load: LoadReader,
        oldest_s: OldestAge = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a gate that is closed until it is started and has a second of samples.

        Args:
            rule: Decides from the samples.
            load: Takes the samples.
            oldest_s: Returns the age of the oldest record, for the deadline of the rule.
            clock: The clock of the samples.
        """
        self._rule = rule
        self._load = load
        self._oldest_s = oldest_s
        self._clock = clock
        # The last decision and its time on `clock`. The tuple is replaced as a whole, so readers need no lock.
        self._last = (GateState(False, GateReason.STARTING, None, None, time.time()), clock())
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def start(self) -> None:
        """Take the first sample, and start the thread.

        Raises:
            LoadError: The counters cannot be read.
        """
        self.take_sample()
        logger.info("the gate measures the load of %s", self._load.source)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. The gate is closed from now on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def is_open(self) -> bool:
        """Returns whether the role may work now.

        Raises:
            LoadError: The counters can no longer be read. Any other error of the thread is raised too.
        """
        if self._failure is not None:
            raise self._failure
        return self.state.is_open

    @property
    def state(self) -> GateState:
        """The last decision; a closed gate if that decision is too old, or if the thread has stopped."""
        state, at = self._last
        age = self._clock() - at
        if state.is_open and (age > MAX_GAP_S or self._failure is not None or self._stop.is_set()):
            return GateState(False, GateReason.STARTING, None, None, time.time() - age)
        return state

    @property
    def resets(self) -> int:
        """How often the gate was reset since the start."""
        return self._rule.resets

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Do not count the load of a Postgres backend; returns False if its process cannot be seen from here."""
        if self._load.own.add_backend(pid, port):
            return True
        logger.info("Postgres's process %d cannot be seen from here: its CPU time counts as load of others", pid)
        return False

    def drop_backend(self, pid: int) -> None:
        """Count the load of this backend as that of others again."""
        self._load.own.drop_backend(pid)

    def take_sample(self) -> None:
        """Take a sample and decide. The thread does this every `SAMPLE_S` seconds.

        Raises:
            LoadError: The counters cannot be read.
        """
        before, _ = self._last
        resets = self._rule.resets
        sample = self._load.read()
        state = self._rule.update(sample, self._oldest_s())
        since = before.since if state.is_open == before.is_open else time.time()
        self._last = (replace(state, since=since), sample.at)
        if self._rule.resets > resets and before.utilization is not None:
            logger.warning("the gate was reset: no sample of the load for %.0f s, or implausible counters", MAX_GAP_S)
        self._log_change(before, state)

    def _log_change(self, before: GateState, state: GateState) -> None:
        if state.reason is GateReason.OVERDUE and before.reason is not GateReason.OVERDUE:
            logger.warning("a record has waited for EMOSTREAM_SINK_MAX_DELAY_S: writing whatever the load")
        elif before.reason is GateReason.OVERDUE and state.reason is not GateReason.OVERDUE:
            logger.warning("no record waits for EMOSTREAM_SINK_MAX_DELAY_S any more: writing while the load is low")
        elif state.is_open != before.is_open:
            logger.debug("the gate is %s: %s", "open" if state.is_open else "closed", state.reason)

    def _run(self) -> None:
        due = self._clock() + SAMPLE_S
        try:
            while not self._stop.wait(max(0.0, due - self._clock())):
                self.take_sample()
                due = max(due + SAMPLE_S, self._clock())  # missed samples are not made up for
        except BaseException as exc:  # noqa: BLE001 - `is_open` raises it in the caller's thread
            self._failure = exc


def sink_gate(settings: Settings, oldest_s: OldestAge = lambda: None) -> Gate:
    """Returns the gate of the sink that the settings describe, not started. It is always open if they set no limit.

    Raises:
        LoadError: The cgroup's CPU quota cannot be read.
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


def warm_gate(settings: Settings) -> Gate:
    """Returns the gate of the warmer that the settings describe, not started. It is always open if they set no limit.

    Raises:
        LoadError: The cgroup's CPU quota cannot be read.
    """
    if settings.warm_cpu_percent == 100:
        return OpenGate()
    rule = GateRule(limit=settings.warm_cpu_percent / 100, calm_s=WARM_CALM_S)
    return CpuAwareGate(rule, LoadReader())
