"""Starts Kafka and Valkey for one benchmark, in their own folder and on their own cores."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from benchmarks.harness.program import pin
from connectors.errors import UnavailableError
from connectors.local import LocalStack
from connectors.local.endpoints import Endpoints


@dataclass(frozen=True)
class Cores:
    """Which cores the system and the servers use. If both are empty, all processes may use all cores.

    Attributes:
        system: Cores of the system under test.
        servers: Cores of Kafka, Redis and the harness.
    """

    system: tuple[int, ...] = ()
    servers: tuple[int, ...] = ()

    @classmethod
    def split(cls, allowed: Collection[int], count: int) -> Cores:
        """Returns the first `count` cores for the system and the others for the servers; with 0, divide nothing.

        Raises:
            ValueError: No core would be left for the servers.
        """
        ordered = tuple(sorted(allowed))
        if not count:
            return cls()
        if count >= len(ordered):
            raise ValueError(
                f"a system can have at most {len(ordered) - 1} of {len(ordered)} cores: the servers need one"
            )
        return cls(ordered[:count], ordered[count:])


class Servers:
    """A context manager that starts Kafka and Valkey, and stops them on exit.

    Attributes:
        endpoints: Where they listen.
        pids: Their process ids, `kafka` and `redis`.
    """

    def __init__(self, folder: Path, cores: Cores) -> None:
        self._stack = LocalStack(folder)
        self._cores = cores
        self.endpoints: Endpoints
        self.pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self.endpoints = self._stack.up()
            for name in ("postgres", "s3"):
                self._stack.stop(name)
            self.pids = {status.name: status.pid for status in self._stack.status() if status.pid is not None}
            for pid in (*self.pids.values(), os.getpid()):
                pin(pid, self._cores.servers)
        except BaseException:
            self._stack.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.down()

    def empty_redis(self) -> None:
        """Remove all data from Redis.

        Raises:
            UnavailableError: Redis does not answer.
        """
        try:
            with redis.Redis.from_url(self.endpoints.redis_url) as client:
                client.flushall()
        except redis.RedisError as exc:
            raise UnavailableError(f"Redis cannot be emptied: {exc}") from exc
