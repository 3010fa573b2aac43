"""Every error of redis-py is translated into an error of ours, and only transient ones into UnavailableError."""

from __future__ import annotations

import inspect
import re
import warnings

import pytest
from redis import exceptions as redis_exceptions
from redis._parsers.base import BaseParser

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.redis import connect, redis_errors

OURS = (UnavailableError, RejectedError)

REDIS_ERRORS = {
    found
    for found in vars(redis_exceptions).values()
    if inspect.isclass(found)
    and issubclass(found, (redis_exceptions.RedisError, redis_exceptions.RedisClusterException))
    and not issubclass(found, (redis_exceptions.CrossSlotTransactionError, redis_exceptions.InvalidPipelineStack))
}
# Raised by misused pipelines, or by token providers, which this project does not use.
NOT_MAPPED = {"ChildDeadlockedError", "CrossSlotTransactionError", "IncorrectPolicyType", "InvalidPipelineStack"}


@pytest.mark.parametrize("url", ["redis://:hunter@h/0?nope=1", "rediss://:hunter@h/0?ssl_cert_reqs=nope"])
@pytest.mark.parametrize("cluster", [False, True])
def test_a_redis_address_with_an_unknown_option_is_refused(url: str, *, cluster: bool) -> None:
    with pytest.raises(RejectedError, match="nope") as caught:
        connect(url, cluster=cluster)
    assert "hunter" not in str(caught.value)


def from_redis(error: Exception) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught, redis_errors("applying a batch"):
        raise error
    assert caught.value.__cause__ is error
    assert "while applying a batch: " in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def make(error: type[Exception]) -> Exception:
    if issubclass(error, redis_exceptions.AskError):
        return error("1234 127.0.0.1:7000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return error("no")


@pytest.mark.parametrize("error", sorted(REDIS_ERRORS, key=lambda found: found.__name__))
def test_every_redis_error_is_translated(error: type[Exception]) -> None:
    assert type(from_redis(make(error))) in OURS


def test_every_redis_error_is_in_the_lists() -> None:
    every = {
        name
        for name, found in vars(redis_exceptions).items()
        if inspect.isclass(found) and issubclass(found, Exception) and found not in REDIS_ERRORS
    }
    assert every <= NOT_MAPPED


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis_exceptions.ConnectionError, UnavailableError),
        (redis_exceptions.TimeoutError, UnavailableError),
        (redis_exceptions.BusyLoadingError, UnavailableError),
        (redis_exceptions.ReadOnlyError, UnavailableError),
        (redis_exceptions.OutOfMemoryError, UnavailableError),
        (redis_exceptions.MasterDownError, UnavailableError),
        (redis_exceptions.MaxConnectionsError, UnavailableError),
        (redis_exceptions.AuthenticationError, RejectedError),
        (redis_exceptions.AuthorizationError, RejectedError),
        (redis_exceptions.NoPermissionError, RejectedError),
        (redis_exceptions.ResponseError, RejectedError),
        (redis_exceptions.DataError, RejectedError),
    ],
)
def test_redis_errors_are_unavailable_or_rejected(error: type[Exception], expected: type[ConnectorError]) -> None:
    assert type(from_redis(make(error))) is expected


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        ("BUSY Redis is busy running a script.", UnavailableError, "Redis is busy with a script"),
        (
            "UNKILLABLE Sorry the script already executed write commands.",
            UnavailableError,
            "Redis is busy with a script",
        ),
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            UnavailableError,
            "Redis is full .*raise maxmemory",
        ),
        ("MISCONF Errors writing to the AOF file", UnavailableError, "takes no writes .*Errors writing"),
        ("NOREPLICAS Not enough good replicas to write.", UnavailableError, "takes no writes .*Not enough"),
        ("READONLY You can't write against a read only replica.", UnavailableError, "takes no writes .*replica"),
        ("MASTERDOWN Link with MASTER is down", UnavailableError, "did not answer"),
        ("LOADING Redis is loading the dataset in memory", UnavailableError, "did not answer"),
        ("MOVED 1 127.0.0.1:7000", RejectedError, "EMOSTREAM_REDIS_CLUSTER=true"),
        ("WRONGTYPE Operation against a key", RejectedError, "refused .*WRONGTYPE"),
        ("ERR a BUSY sign, and no code", RejectedError, "refused"),
    ],
)
def test_the_code_of_a_reply_decides(reply: str, expected: type[ConnectorError], words: str) -> None:
    ours = from_redis(BaseParser.parse_error(reply))
    assert type(ours) is expected
    assert re.search(words, str(ours))


def unreadable_layout(reply: str) -> Exception:
    """Returns what redis-py raises. It says that cluster mode is not enabled, whatever the node replied."""
    error: Exception = BaseParser.parse_error(reply)
    if isinstance(error, redis_exceptions.ResponseError):
        node, error = error, redis_exceptions.RedisClusterException("Cluster mode is not enabled on this node")
        error.__context__ = node
    raised = redis_exceptions.RedisClusterException(f"Redis Cluster cannot be connected: {error}")
    raised.__cause__ = error
    return raised


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        ("ERR This instance has cluster support disabled", RejectedError, "EMOSTREAM_REDIS_CLUSTER=false"),
        ("NOPERM this user has no permissions", RejectedError, "refused .*no permissions"),
        ("WRONGPASS invalid username-password pair", RejectedError, "refused .*invalid username"),
        ("BUSY Redis is busy running a script.", UnavailableError, "busy with a script"),
        ("LOADING Redis is loading the dataset in memory", UnavailableError, "did not answer"),
    ],
)
def test_the_reply_of_a_node_decides_if_the_layout_of_a_cluster_cannot_be_read(
    reply: str, expected: type[ConnectorError], words: str
) -> None:
    with pytest.raises(expected, match=words), redis_errors("applying a batch"):
        raise unreadable_layout(reply)
