"""The roles that the demonstration runs: each in a process of its own, as in production."""

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
from streams.settings import PREFIX, Settings, load_settings

EXIT_S = 5.0
"""For a role to end as a process, once everything in it has stopped or was killed."""


class Role:
    """A child process of `emostream`, its log in a file. A context manager: it is stopped at the end."""

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
                # Ctrl-C in the terminal is for us; we stop the roles in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise if the process has ended.

        Raises:
            EmostreamError: with the last line of its log.
        """
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            last = lines[-1] if lines else "it printed nothing"
            raise EmostreamError(f"the {self.name} ended with exit code {code}: {last} (log: {self.log})")

    def wait(self, timeout_s: float) -> int:
        """Wait until the process ends by itself; returns its exit code.

        Raises:
            subprocess.TimeoutExpired: it goes on for longer than that.
        """
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """Stop the process cleanly, or kill it where that takes too long; returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would have it."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: the process keeps its connections and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, harmless where the process runs or has ended."""
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except BaseException:
            # Ctrl-C while it was waited for: it is told once more, at which several processes end at once.
            self.stop()
            raise


def stop_timeout_s(environment: Mapping[str, str]) -> float:
    """How long to wait for a clean stop of a role: of a worker, the slowest, which mostly takes two or three seconds.

    Args:
        environment: the role's; where its settings are wrong, it ends by itself.
    """
    try:
        settings = load_settings(env_file=None, environ=environment)
    except SettingsError:
        return EXIT_S
    return stop_bound_s(settings) + EXIT_S


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `settings` as the only ones of the application's.

    The others are there and empty, which is their default: so a file `.env` cannot set them either.
    """
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return {**others, **{PREFIX + name.upper(): "" for name in Settings.model_fields}, **settings}
