"""The Redis (Valkey) client, which retries by itself, and the mapping of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from redis import exceptions
from redis.asyncio import Connection, Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from connectors.errors import ConnectorError, RejectedError, UnavailableError, most_specific

TIMEOUT_S = 3.0
"""Seconds for one command, or for connecting: far more than a slow command takes, and less than a session timeout."""

RETRIES = 2
"""Retries within the client, 0.1 s to 1 s apart: enough for a dropped connection, too few for an outage."""

CLUSTER_RETRIES = 5
"""Retries within the client on a cluster. Each one reads the cluster's layout again, so a command finds slots that have
moved to another master."""

RedisClient = Redis | RedisCluster


class _Meaning(NamedTuple):
    """What an error of the driver means: the class of our error, and its message."""

    kind: type[ConnectorError]
    message: str


_NO_ANSWER = _Meaning(UnavailableError, "Redis did not answer while {doing}: {detail}")
_REFUSED = _Meaning(RejectedError, "Redis refused while {doing}: {detail}")
_NO_WRITES = _Meaning(UnavailableError, "Redis takes no writes while {doing}: {detail}")
_BUSY = _Meaning(
    UnavailableError,
    "Redis is busy with a script while {doing}: it answers when the script has ended; if that takes long, find the "
    "program that runs it",
)
_FULL = _Meaning(
    UnavailableError,
    "Redis is full while {doing}: it has used its maxmemory; raise maxmemory, or keep windows for a shorter time "
    "(EMOSTREAM_WINDOW_SIZES)",
)
_CLUSTER_NOT_READY = _Meaning(UnavailableError, "the Redis Cluster did not answer while {doing}: {detail}")
_IS_A_CLUSTER = _Meaning(
    RejectedError, "Redis refused while {doing}: it is a cluster ({detail}); set EMOSTREAM_REDIS_CLUSTER=true"
)
_IS_NO_CLUSTER = _Meaning(
    RejectedError, "Redis refused while {doing}: it is not a cluster ({detail}); set EMOSTREAM_REDIS_CLUSTER=false"
)

_MEANINGS: dict[type[BaseException] | str, _Meaning | None] = {
    exceptions.RedisError: _REFUSED,
    exceptions.ConnectionError: _NO_ANSWER,
    exceptions.TimeoutError: _NO_ANSWER,
    exceptions.ClusterError: _NO_ANSWER,
    exceptions.TryAgainError: _NO_ANSWER,
    exceptions.AuthenticationError: _REFUSED,
    exceptions.AuthorizationError: _REFUSED,
    exceptions.ReadOnlyError: _NO_WRITES,
    exceptions.OutOfMemoryError: _FULL,
    exceptions.AskError: _IS_A_CLUSTER,
    exceptions.ClusterCrossSlotError: _IS_A_CLUSTER,
    exceptions.RedisClusterException: _CLUSTER_NOT_READY,
    # Defects of this program are raised unchanged.
    exceptions.CrossSlotTransactionError: None,
    exceptions.InvalidPipelineStack: None,
    # Codes of error replies for which redis-py has no class.
    "BUSY": _BUSY,
    "UNKILLABLE": _BUSY,
    "MISCONF": _NO_WRITES,  # the last snapshot failed
    "NOREPLICAS": _NO_WRITES,
}
"""By class of redis-py or code of the reply. A class stands for its subclasses that have no entry of their own."""


def connect(url: str, *, cluster: bool = False, decode: bool = True, retries: int | None = None) -> RedisClient:
    """Returns a client for a `redis://` or `rediss://` address. It connects with its first command.

    The client retries commands that fail with a transient error. That is safe for the window tables, because an apply
    is a compare-and-set.

    Args:
        url: Address of the server, or of one node of a cluster, which tells the addresses of the others.
        cluster: Whether the server is a Redis Cluster.
        decode: Whether replies are decoded from UTF-8. A client without it returns bytes.
        retries: Retries within the client; None for the usual number. A caller that would rather go on without an
            answer than wait for one gives 0, unless the server is a cluster, where retries find slots that have moved.

    Raises:
        RejectedError: redis-py does not know an option in the query part of the address, or its value.
    """
    options: dict[str, Any] = {**parse_url(url)}
    try:
        # The client makes its first connection with its first command, and would fail only then.
        options.pop("connection_class", Connection)(**options)
    except (TypeError, exceptions.RedisError) as exc:
        raise RejectedError(f"the query part of the Redis address is wrong: {exc}") from exc
    kind = RedisCluster if cluster else Redis
    if retries is None:
        retries = CLUSTER_RETRIES if cluster else RETRIES
    client: RedisClient = kind.from_url(
        url,
        decode_responses=decode,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), retries),
    )
    return client


@contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Translate the errors of redis-py into those of `connectors.errors`.

    Args:
        doing: What is attempted, for the message.

    Raises:
        UnavailableError: Redis did not answer, loads its data, fails over, is busy with a script, or is full.
        RejectedError: The credentials are wrong, rights are missing, Redis does not know the command, or the setting of
            the cluster is wrong.
    """
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException) as exc:  # the roots of redis-py's errors
        meaning, detail = _meaning(exc)
        if meaning is None:
            raise
        raise meaning.kind(meaning.message.format(doing=doing, detail=detail)) from exc


def _meaning(exc: Exception) -> tuple[_Meaning | None, Exception]:
    """Returns what an error means, and the error that has the details."""
    if isinstance(exc, exceptions.RedisClusterException):
        # The client wraps the error of a node that it asked for the layout of the cluster.
        node = exc.__cause__ or exc.__context__
        if type(node) is exceptions.ResponseError and _code(node) == "ERR":
            return _IS_NO_CLUSTER, node  # it does not know the question
        if isinstance(node, exceptions.RedisError | exceptions.RedisClusterException):
            return _meaning(node)
    return _MEANINGS.get(_code(exc)) or most_specific(_MEANINGS, exc), exc


def _code(exc: Exception) -> str:
    """Returns the code of an error reply: its first word, as RESP has it. redis-py removes the codes that it knows."""
    return getattr(exc, "status_code", None) or str(exc).partition(" ")[0]
