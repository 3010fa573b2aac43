"""Runs the HTTP service as several processes that share a port. The system divides the connections among them.

A process that ends is started again, and the others answer meanwhile.
"""

from __future__ import annotations

import os

from streams.connections import model_threads
from streams.errors import SettingsError
from streams.process.restarts import RestartPolicy
from streams.process.supervisor import Supervisor
from streams.process.worker_processes import check_ports_free, child_command, child_environment, web_ports
from streams.setting_types import PREFIX
from streams.settings import Settings
from streams.wording import counted

STOP_S = 20.0
"""Seconds that a process has to stop. Requests in progress have ten of them."""


async def supervise(settings: Settings, processes: int) -> int:
    """Run the service as several processes, and return its exit code.

    Raises:
        SettingsError: The port is 0: each process would have another one. Or a port for metrics would be above 65535.
        RejectedError: A process could not serve its metrics on its port.
        EmostreamError: The system refuses to start a process.
    """
    if not settings.api_port:
        raise SettingsError([f"{PREFIX}API_PORT: several processes need a port other than 0"])
    check_ports_free(settings.web_bind, metrics_ports(settings, processes), setting="API_METRICS_PORT")
    threads = model_threads(settings, processes)
    supervisor = Supervisor(
        child_commands(settings, processes),
        env=child_environment(os.environ, threads),
        stop_s=STOP_S,
        note=f"{counted(processes, 'process')} with {counted(threads, 'thread')} each",
        restarts=RestartPolicy(),
    )
    return await supervisor.run()


def metrics_ports(settings: Settings, processes: int) -> list[int]:
    """Returns the port on which each process serves its own metrics: 0 for none.

    Raises:
        SettingsError: A port would be above 65535, or it would be the port of the service.
    """
    ports = web_ports(settings.api_metrics_port, processes, setting="API_METRICS_PORT")
    if settings.api_port in filter(None, ports):
        problem = f"{counted(processes, 'process')} would need {PREFIX}API_PORT={settings.api_port}, too"
        raise SettingsError([f"{PREFIX}API_METRICS_PORT={ports[0]}: {problem}"])
    return ports


def child_commands(settings: Settings, processes: int) -> dict[str, list[str]]:
    """Returns the command of each process by its name, `api-0` and so on."""
    address = ("--host", settings.api_host, "--port", str(settings.api_port))
    return {
        name: child_command("api", *address, "--metrics-port", str(port), "--name", name)
        for name, port in ((f"api-{number}", port) for number, port in enumerate(metrics_ports(settings, processes)))
    }
