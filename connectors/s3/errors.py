"""Maps the errors of botocore to those of `connectors.errors`; for `connectors.s3.client` only.

A message contains the error's code and not its text, because the texts of botocore and of servers may repeat
credentials that they were sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

from connectors.errors import ConnectorError, RejectedError, UnavailableError, most_specific

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_BUSY: Final = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded"})

NOT_IMPLEMENTED: Final = 501
"""The only HTTP status from 500 on that a retry does not change."""


_NO_ANSWER = (UnavailableError, "no answer ({name}); is it running?")
_NO_CREDENTIALS = (RejectedError, "no complete credentials are configured")


@cache
def _meanings() -> dict[type[BaseException], tuple[type[ConnectorError], str]]:
    """Returns, by class of botocore or boto3: the class of our error, and what it says.

    A class stands for its subclasses that have no entry of their own. The server's own refusals have a code and an HTTP
    status instead; see `_refusal`.
    """
    import boto3.exceptions  # noqa: PLC0415 - takes a fifth of a second, and most processes have no S3
    from botocore import exceptions as boto  # noqa: PLC0415

    return {
        boto.BotoCoreError: (RejectedError, "the request is not valid ({name})"),
        boto.ConnectionError: _NO_ANSWER,
        boto.HTTPClientError: _NO_ANSWER,
        boto.IncompleteReadError: _NO_ANSWER,
        boto.WaiterError: (UnavailableError, "gave up waiting for the bucket"),
        boto.NoCredentialsError: _NO_CREDENTIALS,
        boto.PartialCredentialsError: _NO_CREDENTIALS,
        boto3.exceptions.Boto3Error: (UnavailableError, "the transfer failed ({name})"),
    }


@contextmanager
def s3_errors(place: str) -> Iterator[None]:
    """Translate the errors of botocore into those of `connectors.errors`.

    Args:
        place: The name of the server and of the object, for the message.

    Raises:
        UnavailableError: The server did not answer, or cannot answer now.
        RejectedError: The server rejected the call, or the request is not valid.
    """
    import boto3.exceptions  # noqa: PLC0415 - see `_meanings`
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (ClientError, BotoCoreError, boto3.exceptions.Boto3Error) as exc:  # the roots of their errors
        cause = _hidden_cause(exc)
        if isinstance(cause, ClientError):
            raise _refusal(cause, place) from cause
        kind, what = most_specific(_meanings(), cause) or _NO_ANSWER
        raise kind(f"{place}: {what.format(name=type(cause).__name__)}") from cause


def _hidden_cause(exc: Exception) -> Exception:
    """Returns the botocore error that an error of one of boto3's transfers hides; else the error itself."""
    import boto3.exceptions  # noqa: PLC0415 - see `_meanings`
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

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
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see `_meanings`

    if isinstance(exc, ClientError):
        return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return None


def is_missing(exc: BaseException | None) -> bool:
    """Returns whether the error says that the object, or the bucket of a HEAD request, does not exist.

    NoSuchBucket, the answer to other requests, does not count.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see `_meanings`

    return isinstance(exc, ClientError) and exc.response.get("Error", {}).get("Code") in _MISSING
