"""Maps the errors of botocore to those of `connectors.errors`; for `connectors.s3.client` only.

A message contains the error's code and not its text, because the texts of botocore and of servers may repeat
credentials that they were sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import boto3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    WaiterError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from connectors.errors import ConnectorError, RejectedError, UnavailableError, most_specific

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_BUSY: Final = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded"})

NOT_IMPLEMENTED: Final = 501
"""The only HTTP status from 500 on that a retry does not change."""


_NO_ANSWER = (UnavailableError, "no answer ({name}); is it running?")
_NO_CREDENTIALS = (RejectedError, "no complete credentials are configured")

_MEANINGS: dict[type[BaseException], tuple[type[ConnectorError], str]] = {
    BotoCoreError: (RejectedError, "the request is not valid ({name})"),
    BotoConnectionError: _NO_ANSWER,
    HTTPClientError: _NO_ANSWER,
    IncompleteReadError: _NO_ANSWER,
    WaiterError: (UnavailableError, "gave up waiting for the bucket"),
    NoCredentialsError: _NO_CREDENTIALS,
    PartialCredentialsError: _NO_CREDENTIALS,
    boto3.exceptions.Boto3Error: (UnavailableError, "the transfer failed ({name})"),
}
"""By class of botocore or boto3: the class of our error, and what it says. A class stands for its subclasses that have
no entry of their own. The server's own refusals have a code and an HTTP status instead; see `_refusal`."""


@contextmanager
def s3_errors(place: str) -> Iterator[None]:
    """Translate the errors of botocore into those of `connectors.errors`.

    Args:
        place: The name of the server and of the object, for the message.

    Raises:
        UnavailableError: The server did not answer, or cannot answer now.
        RejectedError: The server rejected the call, or the request is not valid.
    """
    try:
        yield
    except (ClientError, BotoCoreError, boto3.exceptions.Boto3Error) as exc:  # the roots of their errors
        cause = _hidden_cause(exc)
        if isinstance(cause, ClientError):
            raise _refusal(cause, place) from cause
        kind, what = most_specific(_MEANINGS, cause) or _NO_ANSWER
        raise kind(f"{place}: {what.format(name=type(cause).__name__)}") from cause


def _hidden_cause(exc: Exception) -> Exception:
    """Returns the botocore error that an error of one of boto3's transfers hides; else the error itself."""
    cause = exc.__cause__ or exc.__context__
    if isinstance(exc, boto3.exceptions.Boto3Error) and isinstance(cause, ClientError | BotoCoreError):
        return cause
    return exc


def _refusal(exc: ClientError, place: str) -> ConnectorError:
    code = exc.response.get("Error", {}).get("Code", "?")
    number = status(exc) or 0
    if number != NOT_IMPLEMENTED and (number >= 500 or number == 429 or code in _BUSY):
        return UnavailableError(f"{place}: the server cannot answer now ({code}, HTTP {number})")
    return RejectedError(f"{place}: refused ({code}, HTTP {number})")


def status(exc: BaseException | None) -> int | None:
    """Returns the HTTP status of a refusal; None if the error is not an answer of the server."""
    if isinstance(exc, ClientError):
        return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return None


def is_missing(exc: BaseException | None) -> bool:
    """Returns whether the error says that the object, or the bucket of a HEAD request, does not exist.

    NoSuchBucket, the answer to other requests, does not count.
    """
    return isinstance(exc, ClientError) and exc.response.get("Error", {}).get("Code") in _MISSING
