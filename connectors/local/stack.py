"""The embedded stack: starts and stops all servers, reports their status, and controls single servers for tests."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout

from connectors.errors import LocalStackError
from connectors.local import postgres, process, valkey
from connectors.local.endpoints import Endpoints
from connectors.local.kafka import KafkaServer
from connectors.local.lifecycle import Lifecycle
from connectors.local.ports import HOST
from connectors.local.postgres import PostgresServer
from connectors.local.s3 import S3Server
from connectors.local.server import Server, ServerStatus
from connectors.local.state import ServerRecord, StackState, StateFile
from connectors.local.valkey import ValkeyServer

SERVERS = ("kafka", "redis", "postgres", "s3")

_LOCK_TIMEOUT_S = 180.0
"""Seconds to wait for the file lock: longer than the slowest start and stop, so that a second `up` waits for the
first."""

_POLL_S = 0.05


class LocalStack:
    """Kafka, Valkey, PostgreSQL and S3 on loopback, with all their data in one directory.

    The servers are detached processes. They keep running when this object is deleted or this process ends, and every
    `LocalStack` of the same directory, in any process, controls the same servers. Methods that change something hold a
    file lock meanwhile.

    Args:
        data_dir: The directory; created by the first `up`.
        on_progress: Called with one line of text per event, in the thread that called `up`.
    """

    def __init__(self, data_dir: Path, *, on_progress: Callable[[str], None] | None = None) -> None:
        self.data_dir = Path(data_dir).expanduser().resolve()
        self._progress = on_progress or (lambda _: None)
        self._state_file = StateFile(self.data_dir / "state.json")
        self._lifecycle = Lifecycle(self.data_dir, self._state_file)
        servers: tuple[Server, ...] = (
            KafkaServer(self.data_dir, self._announce_download),
            ValkeyServer(self.data_dir),
            PostgresServer(self.data_dir),
            S3Server(self.data_dir),
        )
        self._servers = {server.name: server for server in servers}

    def up(self) -> Endpoints:
        """Start every server that does not run or does not answer, in parallel, and wait until all answer.

        If a server fails, or on Ctrl-C, the servers that this call started are stopped again. The others keep running.

        Raises:
            LocalStackError: The extra `local` or Java is missing, or a server did not start.
        """
        with self._locked():
            state = self._state_file.load()
            self._ensure(list(self._servers.values()), state)
            return self._endpoints(state)

    def down(self) -> None:
        """Stop every server, and every process that a crash has left running. Does nothing if there is none.

        Raises:
            LocalStackError: A process could not be stopped.
        """
        servers = list(self._servers.values())
        if not any((self.data_dir / name).exists() for name in (".lock", "state.json", *SERVERS)):
            # This is not the directory of a stack, so nothing is written to it. But the directory of a stack may have
            # been deleted while its servers ran.
            self._lifecycle.stop_processes(servers, StackState())
            return
        with self._locked():
            self._lifecycle.halt(servers, self._state_file.load())

    def start(self, name: str) -> None:
        """Start one server, and wait until it answers. Does nothing if it answers already.

        Raises:
            LocalStackError: As for `up`.
            ValueError: There is no server of this name.
        """
        server = self._server(name)
        with self._locked():
            self._ensure([server], self._state_file.load())

    def stop(self, name: str) -> None:
        """Stop one server cleanly. It keeps its ports and its data, and the other servers keep running.

        Raises:
            LocalStackError: The server could not be stopped.
            ValueError: There is no server of this name.
        """
        server = self._server(name)
        with self._locked():
            self._lifecycle.halt([server], self._state_file.load())

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one server; SIGSTOP, SIGCONT and SIGKILL go to its child processes too.

        Raises:
            LocalStackError: The server is not running.
            ValueError: There is no server of this name.
        """
        record = self._state_file.load().server(self._server(name).name)
        running = process.find(record.pid, record.create_time)
        if running is None:
            raise LocalStackError(f"{name} is not running")
        process.send(running, number)

    def endpoints(self) -> Endpoints | None:
        """Returns the addresses; None if the process of some server is not running. Does not probe the servers."""
        state = self._state_file.load()
        records = [state.server(name) for name in SERVERS]
        alive = all(process.find(record.pid, record.create_time) for record in records)
        return self._endpoints(state) if alive else None

    def status(self) -> list[ServerStatus]:
        """Probe every server, in parallel, and return their status; takes at most about 3 s."""
        state = self._state_file.load()
        with ThreadPoolExecutor(len(SERVERS)) as pool:
            return list(pool.map(lambda server: self._lifecycle.status(server, state), self._servers.values()))

    def _announce_download(self) -> None:
        self._progress("kafka     downloading its jars from Maven Central (43 MB, once per user)")

    def _server(self, name: str) -> Server:
        if name not in self._servers:
            raise ValueError(f"no server {name!r}; there are {', '.join(SERVERS)}")
        return self._servers[name]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.data_dir / ".lock")
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            (self.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
            lock.acquire(timeout=_LOCK_TIMEOUT_S)
        except Timeout as exc:
            raise LocalStackError(
                f"another `emostream local` or demo has been starting or stopping the servers in {self.data_dir} for "
                f"{_LOCK_TIMEOUT_S:.0f} s; wait for it, or end it"
            ) from exc
        except OSError as exc:
            raise LocalStackError(f"cannot use {self.data_dir}: {exc.strerror or exc}") from exc
        try:
            yield
        finally:
            lock.release()

    def _endpoints(self, state: StackState) -> Endpoints:
        at = {name: state.server(name).ports for name in SERVERS}
        return Endpoints(
            kafka_bootstrap=f"{HOST}:{at['kafka']['port']}",
            redis_url=valkey.url(at["redis"], state),
            postgres_dsn=postgres.dsn(at["postgres"], state),
            s3_endpoint=f"http://{HOST}:{at['s3']['port']}",
        )

    def _ensure(self, servers: Sequence[Server], state: StackState) -> None:
        """Start those of `servers` that do not answer. If one of them fails, stop all that were started."""
        with ThreadPoolExecutor(len(servers)) as pool:
            answering = list(pool.map(lambda server: self._lifecycle.answers(server, state), servers))
        missing = [server for server, answers in zip(servers, answering, strict=True) if not answers]
        for server, answers in zip(servers, answering, strict=True):
            if answers:
                self._progress(self._line(server, state.server(server.name), "already running"))
        if not missing:
            return
        for server in missing:
            server.check()
        self._lifecycle.halt(missing, state)
        cancel = Event()
        taken = {port for record in state.servers.values() for port in record.ports.values()}
        begin = time.monotonic()
        try:
            with ThreadPoolExecutor(len(missing)) as pool:
                futures = {pool.submit(self._lifecycle.start, each, state, taken, cancel): each for each in missing}
                try:
                    self._await(futures, state, begin)
                except BaseException:
                    cancel.set()
                    raise
        except BaseException:
            self._lifecycle.halt(missing, state)
            raise

    def _await(self, futures: dict[Future[None], Server], state: StackState, begin: float) -> None:
        pending = set(futures)
        while pending:
            # The timeout lets Ctrl-C interrupt the wait.
            done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                server = futures[future]
                took = f"ready in {time.monotonic() - begin:.1f} s"
                self._progress(self._line(server, state.server(server.name), took))

    def _line(self, server: Server, record: ServerRecord, remark: str) -> str:
        name = f"{server.title} {record.version or ''}".rstrip()
        return f"{server.name:<9} {name:<17} {server.address(record.ports)}  {remark}"
