"""Every error of botocore and boto3 is translated, and only transient ones into UnavailableError."""

from __future__ import annotations

import inspect
import subprocess
import sys

import boto3.exceptions
import botocore.exceptions
import pytest

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.s3.errors import s3_errors

BOTO_ERRORS = {
    found
    for module in (botocore.exceptions, boto3.exceptions)
    for found in vars(module).values()
    if inspect.isclass(found) and issubclass(found, (botocore.exceptions.BotoCoreError, boto3.exceptions.Boto3Error))
}


def from_s3(error: Exception) -> ConnectorError:
    with pytest.raises(ConnectorError, match=r"^h/bucket: ") as caught, s3_errors("h/bucket"):
        raise error
    return caught.value


@pytest.mark.parametrize("error", sorted(BOTO_ERRORS, key=lambda found: found.__name__))
def test_every_s3_error_is_translated(error: type[Exception]) -> None:
    made = error.__new__(error)  # each has arguments of its own
    ours = from_s3(made)
    assert type(ours) in (UnavailableError, RejectedError)
    network = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
    assert isinstance(ours, UnavailableError) or not issubclass(error, network)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, RejectedError),
        ("NotImplemented", 501, RejectedError),
        ("InternalError", 500, UnavailableError),
        ("SlowDown", 503, UnavailableError),
        ("RequestTimeout", 400, UnavailableError),
        ("TooManyRequests", 429, UnavailableError),
    ],
)
def test_the_code_and_the_status_of_a_refusal_decide(code: str, status: int, expected: type[ConnectorError]) -> None:
    answer = {"Error": {"Code": code, "Message": "hunter"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    refused = botocore.exceptions.ClientError(answer, "PutObject")  # type: ignore[arg-type] # a part of an answer
    hidden = boto3.exceptions.S3UploadFailedError("hunter")
    hidden.__context__ = refused
    for error in (refused, hidden):
        ours = from_s3(error)
        assert type(ours) is expected
        assert ours.__cause__ is refused
        assert "hunter" not in str(ours)


def test_a_process_without_a_registry_does_not_load_boto3() -> None:
    """It takes a fifth of a second, and every process has the settings of S3."""
    roles = "streams.connections, streams.sink.runner, streams.pipeline.worker, streams.windows.rebuild.run"
    script = f"import sys, {roles}; print({{'boto3', 'botocore'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
