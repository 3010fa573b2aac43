"""What the four servers have in common: how one is prepared, run, asked for an answer and described."""

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
    """A server does not answer (yet); the message says in which way."""


@dataclass(frozen=True)
class ServerStatus:
    """One server of the stack at one moment.

    Attributes:
        name: `kafka`, `redis`, `postgres` or `s3`.
        state: `unhealthy` when its process lives but does not answer.
        pid: Process id; None when stopped.
        address: `host:port`, the last one when stopped; None before the first start.
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
        """The fields, for JSON."""
        return asdict(self)


class Server(ABC):
    """One server program: pure knowledge of the program, no knowledge of when it runs.

    The stack calls `check` in its main thread, then, for a server that is to be started, `prepare`, `launch` and
    `probe` (until it answers) in a thread of the server's own.

    Attributes:
        home: The server's directory.
        log: Its log file.
        environment: Variables that mark its processes, set on all of them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("port",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 30.0
    """From the start of the process to its first answer; measured 0.1 to 4 s, and ten times that on a busy machine."""

    def __init__(self, data_dir: Path) -> None:
        self.home = data_dir / self.name
        self.log = data_dir / "logs" / f"{self.name}.log"
        self.environment = {process.MARK_DIRECTORY: str(data_dir), process.MARK_SERVER: self.name}

    @abstractmethod
    def check(self) -> None:
        """Find the program's files, downloading them where needed.

        Raises:
            LocalStackError: They are not installed.
        """

    def prepare(self, state: StackState, cancel: Event) -> None:
        """Make the server's directory ready; what an interrupted call left is made again.

        Raises:
            Cancelled: `cancel` was set.
            LocalStackError: A tool of the server failed.
        """
        self.home.mkdir(mode=0o700, exist_ok=True)

    @abstractmethod
    def launch(self, ports: Ports, state: StackState) -> Launch:
        """The command that runs the server; its configuration file is written here."""

    @abstractmethod
    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """Ask the server a real question over TCP, and return its version.

        Raises:
            NotAnsweringError: It gave no, or no sensible, answer within `timeout_s`.
        """

    def marked(self, argv: Sequence[str], owner: tuple[int, int] | None = None) -> Launch:
        """A command of this server: run in its directory, and recognisable as its process (see `process`).

        With an owner who may not enter that directory, it is run in the root directory.
        """
        return Launch(argv, self.home if owner is None else Path("/"), self.environment, owner)

    def leftovers(self) -> list[psutil.Process]:
        """Processes that still use the server's directory although no record or mark names them."""
        return []

    def address(self, ports: Ports) -> str | None:
        """`host:port` for clients; None before the first start."""
        return f"{HOST}:{ports['port']}" if "port" in ports else None

    def rotate_log(self) -> int:
        """Put a large log aside; the size of the present one in bytes."""
        with contextlib.suppress(FileNotFoundError):
            if (size := self.log.stat().st_size) <= _LOG_LIMIT_BYTES:
                return size
            self.log.replace(self.log.with_suffix(".log.1"))
        return 0


def package_directory(name: str) -> Path:
    """The directory of one of the optional packages, found without importing it.

    Raises:
        LocalStackError: It is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LocalStackError(f"the embedded stack needs {name}, which comes with: pip install 'emostream[local]'")
    return Path(spec.submodule_search_locations[0])


def memory(root: psutil.Process) -> int | None:
    """Resident bytes of a process and its descendants; None when it has just ended."""
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    total = 0
    for member in tree:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total
