"""Runs the HTTP service as several processes that share a port. The system divides the connections among them."""

from __future__ import annotations

import os

from streams.connections import model_threads
from streams.errors import SettingsError
from streams.process.supervisor import Supervisor
from streams.process.worker_processes import child_command, child_environment
from streams.setting_types import PREFIX
from streams.settings import Settings
from streams.wording import counted

STOP_S = 20.0
"""Seconds that a process has to stop. Requests in progress have ten of them."""


async def supervise(settings: Settings, processes: int) -> int:
    """Run the service as several processes, and return its exit code.

    Raises:
        SettingsError: The port is 0: each process would have another one.
        EmostreamError: The system refuses to start a process.
    """
    if not settings.api_port:
        raise SettingsError([f"{PREFIX}API_PORT: several processes need a port other than 0"])
    threads = model_threads(settings, processes)
    supervisor = Supervisor(
        child_commands(settings, processes),
        env=child_environment(os.environ, threads),
        stop_s=STOP_S,
        note=f"{counted(processes, 'process')} with {counted(threads, 'thread')} each",
    )
    return await supervisor.run()


def child_commands(settings: Settings, processes: int) -> dict[str, list[str]]:
    """Returns the command of each process by its name, `api-0` and so on."""
    address = ("--host", settings.api_host, "--port", str(settings.api_port))
    names = [f"api-{number}" for number in range(processes)]
    return {name: child_command("api", *address, "--name", name) for name in names}
