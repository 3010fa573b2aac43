"""A Valkey server of the test's own, to be killed, started again and put back to what it was."""

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
    """One server, on a port that stays its own. `config` is added to its configuration file."""

    def __init__(self, folder: Path, **config: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        every = {"bind": "127.0.0.1", "port": self.port, "dir": folder, "save": '""', **config}
        lines = (f"{name.replace('_', '-')} {value}\n" for name, value in every.items())
        (folder / "valkey.conf").write_text("".join(lines))
        self.client: Redis = Redis(port=self.port, decode_responses=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it with the data that its folder holds."""
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
        """End it with SIGKILL."""
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
        """Keep what it holds now, for `roll_back`."""
        self.client.save()
        shutil.copy(self._folder / "dump.rdb", self._folder / "snapshot.rdb")

    def roll_back(self) -> None:
        """Kill it and start it from the snapshot, as after the loss of everything since."""
        self.kill()
        shutil.copy(self._folder / "snapshot.rdb", self._folder / "dump.rdb")
        self.start()

    def close(self) -> None:
        self.client.close()
        self.kill()
