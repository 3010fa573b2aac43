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

from connectors.errors import RejectedError, UnavailableError

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_BUSY: Final = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded"})

NOT_IMPLEMENTED: Final = 501
"""The only HTTP status from 500 on that a retry does not change."""


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
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code", "?")
        number = status(exc) or 0
        if number != NOT_IMPLEMENTED and (number >= 500 or number == 429 or code in _BUSY):
            raise UnavailableError(f"{place}: the server cannot answer now ({code}, HTTP {number})") from exc
        raise RejectedError(f"{place}: refused ({code}, HTTP {number})") from exc
    except (BotoConnectionError, HTTPClientError, IncompleteReadError) as exc:
        raise UnavailableError(f"{place}: no answer ({type(exc).__name__}); is it running?") from exc
    except WaiterError as exc:
        raise UnavailableError(f"{place}: gave up waiting for the bucket") from exc
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise RejectedError(f"{place}: no complete credentials are configured") from exc
    except BotoCoreError as exc:
        raise RejectedError(f"{place}: the request is not valid ({type(exc).__name__})") from exc
    except boto3.exceptions.Boto3Error as exc:
        # The errors of boto3's transfers hide the botocore error that caused them.
        cause = exc.__cause__ or exc.__context__
        if isinstance(cause, ClientError | BotoCoreError):
            with s3_errors(place):
                raise cause from exc
        raise UnavailableError(f"{place}: the transfer failed ({type(exc).__name__})") from exc


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
