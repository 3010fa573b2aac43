"""The Redis (Valkey) client, with retries left to the library, and its errors mapped to ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from connectors.errors import RejectedError, UnavailableError

TIMEOUT_S = 3.0
"""For one command, connecting included: far above a slow command, well under a session timeout."""

RETRIES = 2
"""Within the client, 0.1 s to 1 s apart: hides a dropped connection, not an outage."""

CLUSTER_RETRIES = 5
"""The same on a cluster, where each reads the layout anew: hides that slots have moved to another master."""

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
"""Error codes (the first word of an error reply) without a class in redis-py: a script runs too long, a snapshot or
the replicas fail for now."""


def connect(url: str, *, cluster: bool = False) -> RedisClient:
    """A client for `redis://` or `rediss://` addresses; connects with its first command.

    A command that fails in passing is retried. That is safe for the windows because an apply is a compare-and-set.

    Args:
        url: of the server, or of one node of a cluster, from which the others are learnt.
        cluster: whether it is a Redis Cluster.
    """
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
    """Raise our errors for Redis's; `doing` says what was attempted.

    Raises:
        UnavailableError: Redis did not answer, is loading, failing over, or out of memory.
        RejectedError: wrong credentials, missing rights, or a command it does not know.
    """
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as exc:
        raise RejectedError(f"Redis refused while {doing}: {exc}") from exc
    except _TRANSIENT as exc:
        raise UnavailableError(f"Redis did not answer while {doing}: {exc}") from exc
    except (exceptions.CrossSlotTransactionError, exceptions.InvalidPipelineStack):
        raise  # a defect of ours
    except exceptions.RedisClusterException as exc:
        if isinstance(exc.__cause__, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
            raise RejectedError(f"Redis refused while {doing}: {exc.__cause__}") from exc
        if _NO_CLUSTER in str(exc):
            raise RejectedError(
                f"Redis refused while {doing}: it is no cluster; set EMOSTREAM_REDIS_CLUSTER=false"
            ) from exc
        raise UnavailableError(f"the Redis Cluster did not answer while {doing}: {exc}") from exc
    except (exceptions.MovedError, exceptions.ClusterCrossSlotError) as exc:
        raise RejectedError(
            f"Redis refused while {doing}: it is a cluster ({exc}); set EMOSTREAM_REDIS_CLUSTER=true"
        ) from exc
    except exceptions.RedisError as exc:
        if str(exc).split(" ", 1)[0] in _TRANSIENT_CODES:
            raise UnavailableError(f"Redis cannot serve now, while {doing}: {exc}") from exc
        raise RejectedError(f"Redis refused while {doing}: {exc}") from exc
