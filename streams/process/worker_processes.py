"""Divides a worker into processes: their number, ports, threads, commands and environment."""

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
from streams.setting_types import PREFIX
from streams.settings import Settings
from streams.wording import counted

logger = logging.getLogger(__name__)

STOP_S = 20.0
"""Seconds that a process has to stop, after the `KafkaConfig.revoke_deadline_s` seconds for the batches in flight.

If the broker does not answer, a process needs 7 s, and some time to close its connections."""

_LAST_PORT = 65_535
_THREADS = f"{PREFIX}MODEL_THREADS"


@dataclass(frozen=True)
class ProcessPlan:
    """How a worker is divided into processes.

    Attributes:
        processes: the number of processes; 1 needs no supervisor.
        threads: threads of the inference session of each process.
        note: the numbers and their reason, for the log.
        idle: the number of processes above the number of partitions, which get no partition.
        capped: whether there are fewer processes than cores.
    """

    processes: int
    threads: int
    note: str
    idle: int = 0
    capped: bool = False


def plan_processes(settings: Settings) -> ProcessPlan:
    """Returns the number that the user set; else one process per core, and no more than there are partitions."""
    wanted, partitions = settings.worker_processes, settings.partitions
    if wanted:
        threads, note = model_threads(settings, wanted), "as configured"
        return ProcessPlan(wanted, threads, _note(wanted, threads, note), idle=max(0, wanted - partitions))
    cores = usable_cores()
    processes = min(cores, partitions)
    threads, note = model_threads(settings, processes), f"{counted(cores, 'core')}, {counted(partitions, 'partition')}"
    return ProcessPlan(processes, threads, _note(processes, threads, note), capped=processes < cores)


def web_ports(first: int, processes: int, *, setting: str = "WEB_PORT") -> list[int]:
    """Returns the port of each process: `first` and those that follow. If `first` is 0, all are 0: no web server.

    `setting` is the name of the setting of the port without its prefix, for the error.

    Raises:
        SettingsError: A port would be above 65535.
    """
    if not first:
        return [0] * processes
    if first + processes - 1 > _LAST_PORT:
        problem = f"{processes} processes from {first} on need ports above {_LAST_PORT}; choose a lower port"
        raise SettingsError([f"{PREFIX}{setting}: {problem}"])
    return list(range(first, first + processes))


def check_ports_free(host: str, ports: Sequence[int], *, setting: str = "WEB_PORT") -> None:
    """Check that the web server of each process could listen on its port.

    `setting` is the name of the setting of the port without its prefix, for the error.

    Raises:
        RejectedError: A port is in use, the process may not use it, or the address is not one of this machine. The
            message says what to do.
    """
    for port in filter(None, ports):
        try:
            check_port_free(host, port, setting=f"{PREFIX}{setting}")
        except RejectedError as exc:
            raise RejectedError(f"{exc} ({len(ports)} processes need the ports {ports[0]} to {ports[-1]})") from exc


def child_environment(environ: Mapping[str, str], threads: int) -> dict[str, str]:
    """Returns the environment of a process: that of the supervisor, with the number of threads set."""
    return {**{name: value for name, value in environ.items() if name.upper() != _THREADS}, _THREADS: str(threads)}


def child_commands(ports: Sequence[int]) -> dict[str, list[str]]:
    """Returns the command of each process by its name, `worker-0` and so on."""
    return {
        name: child_command("worker", "--processes", "1", "--web-port", str(port), "--name", name)
        for name, port in ((f"worker-{number}", port) for number, port in enumerate(ports))
    }


def child_command(*arguments: str) -> list[str]:
    """Returns the command that runs `emostream` with these arguments in the interpreter of this process."""
    # `-m` searches the current folder first. `-P` prevents that, unless this process searches it too.
    safe = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
    return [sys.executable, *safe, "-m", "streams", *arguments]


async def supervise(settings: Settings, plan: ProcessPlan) -> int:
    """Run a worker as several processes, and return its exit code.

    Raises:
        RejectedError: A web server could not listen on its port.
        SettingsError: A web port would be above 65535.
        EmostreamError: The system refuses to start a process.
    """
    ports = web_ports(settings.web_port, plan.processes)
    check_ports_free(settings.web_bind, ports)
    if plan.idle:
        logger.warning(
            "%s for %s: %d of the processes get no partition",
            counted(plan.processes, "process"),
            counted(settings.partitions, "partition"),
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
    """Returns the seconds within which a worker ends after SIGTERM; processes that do not stop in time are killed."""
    return _stop_s(settings) + KILL_S


def _stop_s(settings: Settings) -> float:
    return kafka_config(settings).revoke_deadline_s + STOP_S


def _note(processes: int, threads: int, reason: str) -> str:
    return f"{counted(processes, 'process')} with {counted(threads, 'thread')} each ({reason})"
