"""The Redis (Valkey) client, which retries by itself, and the mapping of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import Connection, Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from connectors.errors import RejectedError, UnavailableError

TIMEOUT_S = 3.0
"""Seconds for one command, or for connecting: far more than a slow command takes, and less than a session timeout."""

RETRIES = 2
"""Retries within the client, 0.1 s to 1 s apart: enough for a dropped connection, too few for an outage."""

CLUSTER_RETRIES = 5
"""Retries within the client on a cluster. Each one reads the cluster's layout again, so a command finds slots that have
moved to another master."""

_NO_CLUSTER = "Cluster mode is not enabled"

RedisClient = Redis | RedisCluster

_TRANSIENT = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.ClusterError,
    exceptions.TryAgainError,
    exceptions.OutOfMemoryError,
)

_TRANSIENT_CODES = ("BUSY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "UNKILLABLE")
"""Codes of transient errors (the first word of an error reply) for which redis-py has no class: a script runs too long,
a snapshot failed, or the replicas do not answer."""


def connect(url: str, *, cluster: bool = False) -> RedisClient:
    """Returns a client for a `redis://` or `rediss://` address. It connects with its first command.

    The client retries commands that fail with a transient error. That is safe for the window tables, because an apply
    is a compare-and-set.

    Args:
        url: Address of the server, or of one node of a cluster, which tells the addresses of the others.
        cluster: Whether the server is a Redis Cluster.

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
    client: RedisClient = kind.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), CLUSTER_RETRIES if cluster else RETRIES),
    )
    return client


@contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Translate the errors of redis-py into those of `connectors.errors`.

    Args:
        doing: What is attempted, for the message.

    Raises:
        UnavailableError: Redis did not answer, loads its data, fails over, or is out of memory.
        RejectedError: The credentials are wrong, rights are missing, or Redis does not know the command.
    """
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as exc:
        raise RejectedError(f"Redis refused while {doing}: {exc}") from exc
    except _TRANSIENT as exc:
        raise UnavailableError(f"Redis did not answer while {doing}: {exc}") from exc
    except (exceptions.CrossSlotTransactionError, exceptions.InvalidPipelineStack):
        raise  # a defect of this program
    except exceptions.RedisClusterException as exc:
        if isinstance(exc.__cause__, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
            raise RejectedError(f"Redis refused while {doing}: {exc.__cause__}") from exc
        if _NO_CLUSTER in str(exc):
            raise RejectedError(
                f"Redis refused while {doing}: it is not a cluster; set EMOSTREAM_REDIS_CLUSTER=false"
            ) from exc
        raise UnavailableError(f"the Redis Cluster did not answer while {doing}: {exc}") from exc
    except (exceptions.MovedError, exceptions.ClusterCrossSlotError) as exc:
        raise RejectedError(
            f"Redis refused while {doing}: it is a cluster ({exc}); set EMOSTREAM_REDIS_CLUSTER=true"
        ) from exc
    except exceptions.RedisError as exc:
        if str(exc).split(" ", 1)[0] in _TRANSIENT_CODES:
            raise UnavailableError(f"Redis cannot answer now while {doing}: {exc}") from exc
        raise RejectedError(f"Redis refused while {doing}: {exc}") from exc
