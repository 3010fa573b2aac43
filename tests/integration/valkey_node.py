"""Runs a Valkey server that a test can kill, start again and roll back."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis, RedisError

from connectors.local.valkey import binary
from tests.integration.support import free_port, wait_for


class ValkeyNode:
    """A server that keeps its port when it is started again. `config` has further lines of its configuration file."""

    def __init__(self, folder: Path, **config: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": folder, "save": '""', **config}
        lines = (f"{name.replace('_', '-')} {value}\n" for name, value in settings.items())
        (folder / "valkey.conf").write_text("".join(lines))
        self.client: Redis = Redis(port=self.port, decode_responses=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server with the data in its folder."""
        with (self._folder / "log").open("ab") as log:
            command = [binary(), self._folder / "valkey.conf"]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(self._answers, what=f"no Valkey on port {self.port}: {self._folder / 'log'}")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It holds every command of every client."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def snapshot(self) -> None:
        """Save the current data for `roll_back`."""
        self.client.save()
        shutil.copy(self._folder / "dump.rdb", self._folder / "snapshot.rdb")

    def roll_back(self) -> None:
        """Kill the server and start it with the data of the snapshot. All later changes are lost."""
        self.kill()
        shutil.copy(self._folder / "snapshot.rdb", self._folder / "dump.rdb")
        self.start()

    def close(self) -> None:
        self.client.close()
        self.kill()
