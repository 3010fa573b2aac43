"""Maps botocore's errors to ours; used by `connectors.s3.client` alone.

The messages are made of the error's code. The texts of botocore and of servers may repeat what they were sent.
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
"""The one answer above 500 that will not change."""


@contextmanager
def s3_errors(place: str) -> Iterator[None]:
    """Raise `UnavailableError` or `RejectedError` for whatever botocore raises.

    Args:
        place: What to call the server and the object.
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
        # A transfer's own errors hide the botocore error that says more.
        cause = exc.__cause__ or exc.__context__
        if isinstance(cause, ClientError | BotoCoreError):
            with s3_errors(place):
                raise cause from exc
        raise UnavailableError(f"{place}: the transfer failed ({type(exc).__name__})") from exc


def status(exc: BaseException | None) -> int | None:
    """The HTTP status of an answer; None where there was none."""
    if isinstance(exc, ClientError):
        return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return None


def is_missing(exc: BaseException | None) -> bool:
    """Whether the object, or the bucket that a HEAD request asked for, is not there; NoSuchBucket is not among them."""
    return isinstance(exc, ClientError) and exc.response.get("Error", {}).get("Code") in _MISSING
