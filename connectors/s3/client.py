"""S3 and servers that speak its protocol: buckets, objects, and uploads and downloads of files.

A thin layer over boto3, with timeouts and conditional writes. Messages name the server and the object. The errors are:

    no answer, time-out, 5xx, throttled      UnavailableError, after boto3's own retries
    the server rejects                       RejectedError
    an object does not exist                 no error: None or False is returned
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from connectors.errors import RejectedError, UnavailableError
from connectors.s3.errors import NOT_IMPLEMENTED, is_missing, s3_errors, status

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig
    from mypy_boto3_s3 import S3Client

# Seconds to wait for a connection, which takes milliseconds if the server runs, and for the first byte of an answer.
CONNECT_TIMEOUT: Final = 5
READ_TIMEOUT: Final = 30

MAX_ATTEMPTS: Final = 3
"""Attempts per request: a server that does not answer is reported within about 20 s, a refused connection in 3 s."""

_CONFLICT_ATTEMPTS: Final = 5
"""Attempts of a conditional write: a server may answer 409 to one that meets a concurrent write."""

# Seconds between two checks for a bucket that another process creates, and the number of checks.
_BUCKET_WAIT_S: Final = 1
_BUCKET_CHECKS: Final = 15

_NO_ETAG: Final = '"no-object-has-this-tag"'
"""An ETag that no object has: servers use digests."""


@dataclass(frozen=True)
class S3Config:
    """The address of the server, and the credentials.

    Attributes:
        endpoint: URL of the server; None is Amazon's server for the region.
        region: Region name. Servers other than Amazon's accept any.
        access_key_id: The access key's id. None lets boto3 look for credentials (environment, profile, instance role).
        secret_access_key: The secret of the access key.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


OnBytes = Callable[[int], object]
"""Called with the number of bytes transferred since the last call. An exception that it raises ends the transfer."""


@dataclass(frozen=True)
class Stored:
    """An object's content, and its ETag, which changes with the content."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size: int


class S3:
    """A connection to one S3 server, made by `connect`. Thread-safe."""

    def __init__(self, client: S3Client, config: S3Config, transfer: TransferConfig) -> None:
        self._client = client
        self._transfer = transfer
        self._region = config.region
        self._where = _display(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def bucket_exists(self, bucket: str) -> bool:
        """Returns whether a bucket exists.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The bucket exists, and these credentials may not use it.
        """
        try:
            with self._errors(bucket):
                self._client.head_bucket(Bucket=bucket)
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return False
            raise
        return True

    def ensure_bucket(self, bucket: str) -> bool:
        """Create a bucket unless it exists. Safe to call twice, and from several processes at once.

        Returns:
            Whether this call created the bucket.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: These credentials may not create a bucket, or the name belongs to another account.
        """
        if self.bucket_exists(bucket):
            return False
        try:
            with self._errors(bucket):
                # Amazon rejects its default region as an explicit location.
                if self._region == "us-east-1":
                    self._client.create_bucket(Bucket=bucket)
                else:
                    self._client.create_bucket(
                        Bucket=bucket,
                        CreateBucketConfiguration={"LocationConstraint": self._region},  # type: ignore[typeddict-item]
                    )
        except RejectedError as exc:
            # 409: another process has created the bucket, or is creating it. If the bucket belongs to another account,
            # the check that follows is rejected.
            if status(exc.__cause__) != 409:
                raise
            with self._errors(bucket):
                self._client.get_waiter("bucket_exists").wait(
                    Bucket=bucket, WaiterConfig={"Delay": _BUCKET_WAIT_S, "MaxAttempts": _BUCKET_CHECKS}
                )
            return False
        return True

    @property
    def where(self) -> str:
        """The server's name in messages, without credentials."""
        return self._where

    def read(self, bucket: str, key: str, *, limit: int | None = None) -> Stored | None:
        """Read a small object and its ETag; returns None if there is no such object.

        Args:
            bucket: The bucket.
            key: The key.
            limit: Greatest number of bytes to read; the rest of a larger object is not transferred.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The server rejected the call, or there is no such bucket.
        """
        try:
            with self._errors(bucket, key):
                answer = self._client.get_object(Bucket=bucket, Key=key)
                with closing(answer["Body"]) as body:
                    return Stored(body.read(limit), answer["ETag"])
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return None
            raise

    def put(self, bucket: str, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> bool:
        """Write a small object in one step: a reader sees the old content or the new one.

        For a conditional write (RFC 9110, 13.1) the server decides: of several writers exactly one succeeds.

        Args:
            bucket: The bucket.
            key: The key.
            body: The content.
            if_absent: Write only if there is no such object yet (`If-None-Match: *`).
            if_match: Write only if the object still has this ETag (`If-Match`).

        Returns:
            Whether the object was written; False if the condition did not hold. If an answer is lost, the client sends
            the write again, and then returns False although it was written. Read the object to find out.

        Raises:
            UnavailableError: The server did not answer, or writers kept colliding.
            RejectedError: The server rejected the call, or does not support conditional writes.
        """
        condition: dict[str, Any] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match
        for _ in range(_CONFLICT_ATTEMPTS):
            try:
                with self._errors(bucket, key):
                    self._client.put_object(Bucket=bucket, Key=key, Body=body, **condition)
            except RejectedError as exc:
                answer = status(exc.__cause__)
                if not condition:
                    raise
                if answer == NOT_IMPLEMENTED:
                    raise RejectedError(f"{_no_conditions(self._where)} ({bucket}/{key}, HTTP 501)") from exc
                # 412: the condition does not hold. With If-Match, the answer is 404 if the object was removed.
                if answer == 412 or (if_match is not None and is_missing(exc.__cause__)):
                    return False
                if answer != 409:  # 409: another write is under way
                    raise
            else:
                return True
        raise UnavailableError(f"S3 at {self._where}: other processes keep writing {bucket}/{key}; try again")

    def require_conditional_writes(self, bucket: str, key: str) -> None:
        """Check that the server supports conditional writes, with a write on condition of an ETag that no object has.

        Args:
            bucket: The bucket.
            key: A key that is used for nothing else. A server that ignores the condition keeps an empty object there.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The server does not support conditional writes, or rejected the call.
        """
        if self.put(bucket, key, b"", if_match=_NO_ETAG):
            raise RejectedError(f"{_no_conditions(self._where)} (it ignored the condition on {bucket}/{key})")

    def upload(self, bucket: str, key: str, file: Path, on_bytes: OnBytes | None = None) -> None:
        """Upload a file of any size.

        Args:
            bucket: The bucket.
            key: The key.
            file: What to upload.
            on_bytes: Called with the progress.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The server rejected the call.
        """
        with self._errors(bucket, key):
            self._client.upload_file(str(file), bucket, key, Callback=on_bytes, Config=self._transfer)

    def download(self, bucket: str, key: str, file: Path, on_bytes: OnBytes | None = None) -> bool:
        """Download an object into a file, which appears only when it is complete.

        Args:
            bucket: The bucket.
            key: The key.
            file: The file to write.
            on_bytes: Called with the progress.

        Returns:
            Whether the object exists.

        Raises:
            UnavailableError: The server did not answer, or its answer was cut off.
            RejectedError: The server rejected the call.
        """
        try:
            with self._errors(bucket, key):
                self._client.download_file(bucket, key, str(file), Callback=on_bytes, Config=self._transfer)
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return False
            raise
        return True

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix`, in the order of the keys, from as many pages as needed.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The server rejected the call, or there is no such bucket.
        """
        with self._errors(bucket):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield ObjectInfo(entry["Key"], entry["Size"])

    def _errors(self, bucket: str, key: str | None = None) -> AbstractContextManager[None]:
        return s3_errors(f"S3 at {self._where}, {bucket if key is None else f'{bucket}/{key}'}")


def connect(config: S3Config) -> S3:
    """Make a connection object; nothing is sent yet.

    Raises:
        RejectedError: The endpoint is not a URL, or only one half of the credentials is given.
    """
    import boto3  # noqa: PLC0415 - takes a fifth of a second, and most processes have no S3
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    if (config.access_key_id is None) != (config.secret_access_key is None):
        raise RejectedError(
            f"S3 at {_display(config)}: set both the access key id and the secret access key, or neither of them"
        )
    try:
        # A separate session, because boto3's default session is not safe to use from several threads.
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=config.endpoint,
            region_name=config.region,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                # Servers other than Amazon's have one host name, and may not support the newer checksum trailers.
                s3={"addressing_style": "path" if config.endpoint else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except (ValueError, BotoCoreError) as exc:
        raise RejectedError(
            f"S3 at {_display(config)}: the endpoint or the region is not valid ({type(exc).__name__})"
        ) from exc
    return S3(client, config, TransferConfig(use_threads=False))


def _no_conditions(where: str) -> str:
    return (
        f"S3 at {where} does not support conditional writes (If-Match); without them two writers overwrite each other"
    )


def _display(config: S3Config) -> str:
    """Returns the endpoint without a user name or a password that it may contain."""
    if config.endpoint is None:
        return f"Amazon ({config.region})"
    try:
        parts = urlsplit(config.endpoint)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an endpoint that is not a URL"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "an endpoint that is not a URL"
