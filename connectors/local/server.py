"""The base class of the four servers: how a server is prepared, started, probed and described."""

from __future__ import annotations

import contextlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import ClassVar, Literal

import psutil

from connectors.errors import LocalStackError
from connectors.local import process
from connectors.local.ports import HOST
from connectors.local.process import Launch
from connectors.local.state import StackState

Ports = dict[str, int]
ServerState = Literal["running", "stopped", "unhealthy"]

_LOG_LIMIT_BYTES = 5_000_000


class NotAnsweringError(Exception):
    """A server does not answer, or not yet. The message says what happened."""


@dataclass(frozen=True)
class ServerStatus:
    """One server of the stack at one moment.

    Attributes:
        name: `kafka`, `redis`, `postgres` or `s3`.
        state: `unhealthy` if its process runs and does not answer.
        pid: Process id; None when stopped.
        address: `host:port`; the last address if the server is stopped, None before the first start.
        version: The server's own version; None before the first start.
        rss: Resident memory in bytes, its child processes included; None when stopped.
    """

    name: str
    state: ServerState
    pid: int | None
    address: str | None
    version: str | None
    rss: int | None

    def as_dict(self) -> dict[str, str | int | None]:
        """Returns the fields as a dict, for JSON."""
        return asdict(self)


class Server(ABC):
    """One server program: how it is run. Whether and when it runs is decided by `LocalStack` and `Lifecycle`.

    To start a server, the stack calls `check` in its main thread. Then it calls `prepare`, `launch` and, until the
    server answers, `probe` in a thread for this server.

    Attributes:
        home: The server's directory.
        log: Its log file.
        environment: The variables that mark its processes (see `process`).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("port",)
    stop: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 30.0
    """Seconds from the start of the process to its first answer: usually 0.1 to 4 s, on a busy machine ten times
    that."""

    def __init__(self, data_dir: Path) -> None:
        self.home = data_dir / self.name
        self.log = data_dir / "logs" / f"{self.name}.log"
        self.environment = {process.MARK_DIRECTORY: str(data_dir), process.MARK_SERVER: self.name}

    @abstractmethod
    def check(self) -> None:
        """Check that the program's files are installed, and download missing ones.

        Raises:
            LocalStackError: The files are not installed.
        """

    def prepare(self, state: StackState, cancel: Event) -> None:
        """Prepare the server's directory. What an interrupted call left unfinished is made again.

        Raises:
            Cancelled: `cancel` was set.
            LocalStackError: A tool of the server failed.
        """
        self.home.mkdir(mode=0o700, exist_ok=True)

    @abstractmethod
    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Write the configuration file, and return the command that runs the server."""

    @abstractmethod
    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """Send the server a request over TCP, and return its version.

        Raises:
            NotAnsweringError: The server did not answer within `timeout_s`, or the answer was wrong.
        """

    def marked(self, argv: Sequence[str], owner: tuple[int, int] | None = None) -> Launch:
        """Returns a command of this server with its mark (see `process`), run in its directory.

        With an owner the command runs in the root directory, because the owner may not be able to enter the server's.
        """
        return Launch(argv, self.home if owner is None else Path("/"), self.environment, owner)

    def leftovers(self) -> list[psutil.Process]:
        """Returns processes without a record or a mark that still use the server's directory."""
        return []

    def address(self, ports: Ports) -> str | None:
        """Returns `host:port` for clients; None before the first start."""
        return f"{HOST}:{ports['port']}" if "port" in ports else None

    def rotate_log(self) -> int:
        """Rename the log if it is large, and return the size of the current log in bytes."""
        with contextlib.suppress(FileNotFoundError):
            if (size := self.log.stat().st_size) <= _LOG_LIMIT_BYTES:
                return size
            self.log.replace(self.log.with_suffix(".log.1"))
        return 0


def package_directory(name: str) -> Path:
    """Returns the directory of an optional package, without importing the package.

    Raises:
        LocalStackError: The package is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LocalStackError(f"the embedded stack needs {name}, which comes with: pip install 'emostream[local]'")
    return Path(spec.submodule_search_locations[0])


def memory(root: psutil.Process) -> int | None:
    """Returns the resident memory of a process and its descendants in bytes; None if the process has just ended."""
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    total = 0
    for member in tree:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total
