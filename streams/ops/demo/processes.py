"""Runs a role, such as the worker or the sink, in a process of its own, as in production."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.errors import EmostreamError, SettingsError
from streams.process.worker_processes import stop_bound_s
from streams.setting_types import PREFIX
from streams.settings import Settings, load_settings

EXIT_S = 5.0
"""Seconds for the process of a role to exit, after everything in it has stopped or was killed."""


class Role:
    """A child process that runs an `emostream` command, with its log in a file. A context manager that stops it."""

    def __init__(self, name: str, arguments: list[str], *, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._stop_s = stop_timeout_s(env)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams", *arguments],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                # Ctrl-C in the terminal reaches this process only, which then stops the roles in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the role."""
        return self._process.pid

    def check(self) -> None:
        """Check that the process runs.

        Raises:
            EmostreamError: The process has ended. The message has its exit code and the last line of its log.
        """
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            last = lines[-1] if lines else "it printed nothing"
            raise EmostreamError(f"the {self.name} ended with exit code {code}: {last} (log: {self.log})")

    def wait(self, timeout_s: float) -> int:
        """Wait until the process ends, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: The process still runs after `timeout_s` seconds.
        """
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """Stop the process with SIGTERM, or kill it if it takes longer than `stop_timeout_s`; returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait until it has ended."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Pause the process with SIGSTOP. It keeps its connections."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the process with SIGCONT. Nothing happens if it runs or has ended."""
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except BaseException:
            # Ctrl-C interrupted the wait. A second SIGTERM makes a worker of several processes end at once.
            self.stop()
            raise


def stop_timeout_s(environment: Mapping[str, str]) -> float:
    """Returns the seconds to wait for a role to stop: the limit of a worker, which is the slowest.

    A worker usually stops in two or three seconds.

    Args:
        environment: the environment of the role. If its settings are wrong, the process exits by itself.
    """
    try:
        settings = load_settings(env_file=None, environ=environment)
    except SettingsError:
        return EXIT_S
    return stop_bound_s(settings) + EXIT_S


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment, with only `settings` as settings of the application.

    All other settings are present with an empty value, which stands for the default, so that a file `.env` cannot set
    them.
    """
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return {**others, **{PREFIX + name.upper(): "" for name in Settings.model_fields}, **settings}
