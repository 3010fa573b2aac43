"""Divides a worker into processes: how many, with which ports and threads, and what each is told."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import RejectedError
from connectors.machine.cores import usable_cores
from streams.connections import kafka_config, model_threads
from streams.errors import SettingsError
from streams.process.listening import check_port_free
from streams.process.supervisor import KILL_S, Supervisor
from streams.settings import PREFIX, Settings

logger = logging.getLogger(__name__)

STOP_S = 20.0
"""For a process to stop, beside `KafkaConfig.revoke_deadline_s` for the batches in flight. It bounds the rest itself:
7 s where the broker is away, and some more to close what it had open."""

_LAST_PORT = 65_535
_THREADS = f"{PREFIX}MODEL_THREADS"


@dataclass(frozen=True)
class ProcessPlan:
    """How a worker is divided.

    Attributes:
        processes: how many; 1 for no supervisor.
        threads: of the inference session, in each.
        note: why so many, for the log.
        idle: how many of them more than there are partitions; they have nothing to do until another one ends.
        capped: whether there are fewer than cores.
    """

    processes: int
    threads: int
    note: str
    idle: int = 0
    capped: bool = False


def plan_processes(settings: Settings) -> ProcessPlan:
    """One process per core, unless the user has given a number; more than there are partitions only on demand."""
    wanted, partitions = settings.worker_processes, settings.partitions
    if wanted:
        threads, note = model_threads(settings, wanted), "as was asked for"
        return ProcessPlan(wanted, threads, _note(wanted, threads, note), idle=max(0, wanted - partitions))
    cores = usable_cores()
    processes = min(cores, partitions)
    threads, note = model_threads(settings, processes), f"{_count(cores, 'core')}, {_count(partitions, 'partition')}"
    return ProcessPlan(processes, threads, _note(processes, threads, note), capped=processes < cores)


def web_ports(first: int, processes: int) -> list[int]:
    """The port of each process; all 0 where the first is, for no web server.

    Raises:
        SettingsError: there are not so many ports.
    """
    if not first:
        return [0] * processes
    if first + processes - 1 > _LAST_PORT:
        raise SettingsError([f"{PREFIX}WEB_PORT: {processes} processes from {first} on need ports above {_LAST_PORT}"])
    return list(range(first, first + processes))


def check_ports_free(host: str, ports: Sequence[int]) -> None:
    """Raise if one of the ports is taken.

    Raises:
        RejectedError: with what to do about it.
        UnavailableError: the address is not one of this machine.
    """
    for port in filter(None, ports):
        try:
            check_port_free(host, port)
        except RejectedError as exc:
            raise RejectedError(f"{exc} ({len(ports)} processes need the ports {ports[0]} to {ports[-1]})") from exc


def child_environment(environ: Mapping[str, str], threads: int) -> dict[str, str]:
    """The environment for a process: that of the supervisor, with its share of the threads."""
    return {**{name: value for name, value in environ.items() if name.upper() != _THREADS}, _THREADS: str(threads)}


def child_commands(ports: Sequence[int]) -> dict[str, list[str]]:
    """What to run, by name."""
    # `-m` looks into the current folder first; it must not where this process, an installed script, does not.
    safe = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
    return {
        f"worker-{number}": [
            *(sys.executable, *safe, "-m", "streams", "worker"),
            *("--processes", "1", "--web-port", str(port), "--name", f"worker-{number}"),
        ]
        for number, port in enumerate(ports)
    }


async def supervise(settings: Settings, plan: ProcessPlan) -> int:
    """Run a worker as several processes; the exit code.

    Raises:
        RejectedError, UnavailableError: a web port cannot be listened on.
        SettingsError: there are not so many ports.
        EmostreamError: the system refuses to start a process.
    """
    ports = web_ports(settings.web_port, plan.processes)
    check_ports_free(settings.web_bind, ports)
    if plan.idle:
        logger.warning(
            "%s for %s: %d of them will have nothing to do",
            _count(plan.processes, "process"),
            _count(settings.partitions, "partition"),
            plan.idle,
        )
    supervisor = Supervisor(
        child_commands(ports),
        env=child_environment(os.environ, plan.threads),
        stop_s=_stop_s(settings),
        note=plan.note,
    )
    return await supervisor.run()


def stop_bound_s(settings: Settings) -> float:
    """Seconds after which a worker that was told to stop has ended, killed where it did not stop by itself."""
    return _stop_s(settings) + KILL_S


def _stop_s(settings: Settings) -> float:
    return kafka_config(settings).revoke_deadline_s + STOP_S


def _note(processes: int, threads: int, reason: str) -> str:
    return f"{_count(processes, 'process')} with {_count(threads, 'thread')} each ({reason})"


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural if number != 1 else ''}"
