"""Runs a load in several processes, and adds up what they counted."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from connectors.errors import UnavailableError
from streams.errors import MeasurementError
from streams.ops.stress.generator import Job, Progress
from streams.ops.stress.process import STOP, Finished, Ready, main
from streams.ops.stress.schedule import Schedule
from streams.ops.stress.tally import Tally

START_AFTER_S = 0.2
"""Seconds between the word to start and the start, so that all processes have it in time."""

_STOP_S = 10.0


@dataclass(frozen=True)
class LoadResult:
    """What a load has found.

    Attributes:
        tally: the counted requests.
        measured_s: seconds of the planned times that were counted; fewer than planned after an interruption.
        generator_cpu_s: CPU seconds of the processes that sent.
        is_interrupted: whether Ctrl-C has ended the load.
    """

    tally: Tally
    measured_s: float
    generator_cpu_s: float
    is_interrupted: bool


def divide(job: Job, processes: int) -> list[Job]:
    """Returns the job of each process. Connections and planned times are divided."""
    each, more = divmod(job.connections, processes)
    shift = len(job.order) // processes
    return [
        replace(
            job,
            schedule=replace(job.schedule, part=part, parts=processes),
            connections=each + (part < more),
            # Each process begins elsewhere in the order, or all would ask for the same at the same time.
            order=[*job.order[part * shift :], *job.order[: part * shift]],
        )
        for part in range(processes)
    ]


def run_load(job: Job, processes: int, on_progress: Callable[[Progress], None]) -> LoadResult:
    """Send the requests of a job, and return when the last has an outcome.

    Ctrl-C ends the load; the result then has what was counted until then.

    Args:
        job: the whole load.
        processes: number of processes; at most one for each connection.
        on_progress: called every second with the sums over all processes.

    Raises:
        UnavailableError: The service does not accept connections.
        MeasurementError: A process ended too early.
    """
    context = multiprocessing.get_context("spawn")
    started: list[SpawnProcess] = []
    pipes: list[Pipe] = []
    try:
        for part in divide(job, processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=main, args=(theirs, part), daemon=True)
            process.start()
            theirs.close()
            started.append(process)
            pipes.append(mine)
        for pipe in pipes:
            _await_ready(pipe, job)
        return _measure(pipes, job.schedule, on_progress)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in started:
            process.join(_STOP_S)
            if process.is_alive():
                process.kill()
                process.join()


def _await_ready(pipe: Pipe, job: Job) -> None:
    message = _receive(pipe)
    if isinstance(message, Ready) and message.error:
        raise UnavailableError(
            f"{job.target.authority} does not accept {job.connections} connections: {message.error}; "
            "`emostream api` starts the HTTP service"
        )


def _measure(pipes: Sequence[Pipe], schedule: Schedule, on_progress: Callable[[Progress], None]) -> LoadResult:
    start = time.monotonic() + START_AFTER_S
    for pipe in pipes:
        pipe.send(start)
    collected = _Collected(pipes, on_progress)
    stopped_at = None
    try:
        collected.collect()
    except KeyboardInterrupt:
        stopped_at = time.monotonic()
        for pipe in collected.running:
            with contextlib.suppress(OSError):
                pipe.send(STOP)
        collected.collect()
    measured_s = schedule.duration_s
    if stopped_at is not None:
        measured_s = min(max(0.0, stopped_at - start - schedule.warm_up_s), measured_s)
    return LoadResult(collected.tally, measured_s, collected.cpu_s, stopped_at is not None)


class _Collected:
    """The messages of the processes."""

    def __init__(self, pipes: Sequence[Pipe], on_progress: Callable[[Progress], None]) -> None:
        self.running = list(pipes)
        self.tally = Tally()
        self.cpu_s = 0.0
        self._last: dict[Pipe, Progress] = {}
        self._processes = len(pipes)
        self._on_progress = on_progress

    def collect(self) -> None:
        """Read messages until every process has finished."""
        while self.running:
            for pipe in wait(self.running):
                assert isinstance(pipe, Pipe)  # noqa: S101 - the list has nothing else
                message = _receive(pipe)
                if isinstance(message, Finished):
                    self.running.remove(pipe)
                    self.tally.add(message.tally)
                    self.cpu_s += message.cpu_s
                elif isinstance(message, Progress):
                    self._last[pipe] = message
                    if len(self._last) == self._processes:
                        self._on_progress(_sum(list(self._last.values())))
                        self._last.clear()


def _sum(parts: Sequence[Progress]) -> Progress:
    return Progress(
        max(part.at for part in parts),
        sum(part.ok for part in parts),
        sum(part.failed for part in parts),
        sum(part.open for part in parts),
    )


def _receive(pipe: Pipe) -> object:
    try:
        return pipe.recv()
    except (EOFError, OSError) as exc:
        raise MeasurementError("a process of the load generator ended too early") from exc
