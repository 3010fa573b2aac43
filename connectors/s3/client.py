"""S3 and whatever speaks its protocol: buckets, objects, and files to and from them.

A thin layer over boto3. It adds timeouts, conditional writes, one way of naming what failed, and the mapping of
botocore's errors to ours:

    no answer, time-out, 5xx, throttled      UnavailableError, after boto3's own retries
    anything that the server refuses         RejectedError
    an object that is not there              no error: None or False
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from connectors.errors import RejectedError, UnavailableError
from connectors.s3.errors import NOT_IMPLEMENTED, is_missing, s3_errors, status

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Seconds. Connecting takes milliseconds where a server is there at all; a read waits for the first byte of an answer,
# not for a whole file. With three attempts a dead server is reported within some 20 s, a refused connection within 3 s.
CONNECT_TIMEOUT: Final = 5
READ_TIMEOUT: Final = 30
MAX_ATTEMPTS: Final = 3

# A conditional write that meets a concurrent one is answered 409 and meant to be sent again.
_CONFLICT_ATTEMPTS: Final = 5
# Seconds between two looks for a bucket that someone else is creating, and how many.
_BUCKET_DELAY: Final = 1
_BUCKET_LOOKS: Final = 15

_TRANSFER = TransferConfig(use_threads=False)
# An entity tag that no server gives: theirs are digests.
_NO_ETAG: Final = '"no-object-has-this-tag"'


@dataclass(frozen=True)
class S3Config:
    """Where the server is and who we are.

    Attributes:
        endpoint: URL of a server of one's own; None is Amazon's for the region.
        region: Region name; servers of one's own take any.
        access_key_id: None leaves credentials to boto3's own chain (environment, profile, instance role).
        secret_access_key: The other half.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


OnBytes = Callable[[int], object]
"""Told how many bytes of a transfer have gone since the last call. What it raises ends the transfer."""


@dataclass(frozen=True)
class Stored:
    """An object's content, and the tag that tells this content from any other."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size: int


class S3:
    """A connection to one S3 server; made by `connect`. Safe to share between threads."""

    def __init__(self, client: "S3Client", config: S3Config) -> None:
        self._client = client
        self._region = config.region
        self._where = _display(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def bucket_exists(self, bucket: str) -> bool:
        """Whether there is such a bucket.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: There is one, and it is not for us.
        """
        try:
            with self._mapped(bucket):
                self._client.head_bucket(Bucket=bucket)
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return False
            raise
        return True

    def ensure_bucket(self, bucket: str) -> bool:
        """Create the bucket unless it is there. Safe to run twice, and from several processes at once.

        Returns:
            Whether this call created it.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: We may not, or the name is taken by someone else.
        """
        if self.bucket_exists(bucket):
            return False
        try:
            with self._mapped(bucket):
                # Amazon refuses its own default as an explicit constraint.
                if self._region == "us-east-1":
                    self._client.create_bucket(Bucket=bucket)
                else:
                    self._client.create_bucket(
                        Bucket=bucket,
                        CreateBucketConfiguration={"LocationConstraint": self._region},  # type: ignore[typeddict-item]
                    )
        except RejectedError as exc:
            # 409: another process got there first, or is just creating it. Where the bucket is someone else's the
            # look that follows is refused.
            if status(exc.__cause__) != 409:
                raise
            with self._mapped(bucket):
                self._client.get_waiter("bucket_exists").wait(
                    Bucket=bucket, WaiterConfig={"Delay": _BUCKET_DELAY, "MaxAttempts": _BUCKET_LOOKS}
                )
            return False
        return True

    @property
    def where(self) -> str:
        """The server, as errors name it; without credentials."""
        return self._where

    def read(self, bucket: str, key: str, *, limit: int | None = None) -> Stored | None:
        """Read a small object whole, with its ETag; None where there is none.

        Args:
            bucket: The bucket.
            key: The key.
            limit: Bytes to read at most; the rest of a larger object is not transferred.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: It refused, or there is no such bucket.
        """
        try:
            with self._mapped(bucket, key):
                answer = self._client.get_object(Bucket=bucket, Key=key)
                with closing(answer["Body"]) as body:
                    return Stored(body.read(limit), answer["ETag"])
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return None
            raise

    def put(self, bucket: str, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> bool:
        """Write a small object, in one step: a reader sees the old one or the new one.

        A conditional write (RFC 9110, 13.1) is decided by the server: of several writers exactly one succeeds.

        Args:
            bucket: The bucket.
            key: The key.
            body: The content.
            if_absent: Write only where there is no such object yet (`If-None-Match: *`).
            if_match: Write only where the object still has this ETag (`If-Match`).

        Returns:
            Whether it was written; False only where the condition did not hold. A write that was sent twice because
            its answer got lost may be reported as False although it was made: look at what is there.

        Raises:
            UnavailableError: The server did not answer, or writers kept colliding.
            RejectedError: It refused, or does not implement conditional writes.
        """
        condition: dict[str, Any] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match
        for _ in range(_CONFLICT_ATTEMPTS):
            try:
                with self._mapped(bucket, key):
                    self._client.put_object(Bucket=bucket, Key=key, Body=body, **condition)
            except RejectedError as exc:
                answer = status(exc.__cause__)
                if not condition:
                    raise
                if answer == NOT_IMPLEMENTED:
                    raise RejectedError(f"{_no_conditions(self._where)} ({bucket}/{key}, HTTP 501)") from exc
                # 412: the condition does not hold. With If-Match, an object that is gone is a 404.
                if answer == 412 or (if_match is not None and is_missing(exc.__cause__)):
                    return False
                if answer != 409:  # conflict: it is being written
                    raise
            else:
                return True
        raise UnavailableError(f"S3 at {self._where}: {bucket}/{key} is being written by others; try again")

    def require_conditional_writes(self, bucket: str, key: str) -> None:
        """Fail if the server would take a conditional write and ignore its condition, as older ones do.

        One write that must not succeed: on condition of an ETag that no object has.

        Args:
            bucket: The bucket.
            key: A key that is used for nothing else. On a server that ignores the condition an empty object is left.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: It does not do conditional writes, or refused.
        """
        if self.put(bucket, key, b"", if_match=_NO_ETAG):
            raise RejectedError(f"{_no_conditions(self._where)} (it ignored the condition on {bucket}/{key})")

    def upload(self, bucket: str, key: str, file: Path, on_bytes: OnBytes | None = None) -> None:
        """Upload a file of any size.

        Args:
            bucket: The bucket.
            key: The key.
            file: What to upload.
            on_bytes: Told of progress.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: It refused.
        """
        with self._mapped(bucket, key):
            self._client.upload_file(str(file), bucket, key, Callback=on_bytes, Config=_TRANSFER)

    def download(self, bucket: str, key: str, file: Path, on_bytes: OnBytes | None = None) -> bool:
        """Download an object into a file, which appears whole or not at all.

        Args:
            bucket: The bucket.
            key: The key.
            file: Where it goes.
            on_bytes: Told of progress.

        Returns:
            Whether there was such an object.

        Raises:
            UnavailableError: The server did not answer, or stopped in the middle.
            RejectedError: It refused.
        """
        try:
            with self._mapped(bucket, key):
                self._client.download_file(bucket, key, str(file), Callback=on_bytes, Config=_TRANSFER)
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return False
            raise
        return True

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in the order of the keys, however many there are.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: It refused, or there is no such bucket.
        """
        with self._mapped(bucket):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield ObjectInfo(entry["Key"], entry["Size"])

    def _mapped(self, bucket: str, key: str | None = None) -> AbstractContextManager[None]:
        return s3_errors(f"S3 at {self._where}, {bucket if key is None else f'{bucket}/{key}'}")


def connect(config: S3Config) -> S3:
    """Make a client; nothing is sent yet.

    Raises:
        RejectedError: The endpoint is not a URL, or credentials are half given.
    """
    if (config.access_key_id is None) != (config.secret_access_key is None):
        raise RejectedError(
            f"S3 at {_display(config)}: give both halves of the credentials, or neither for the environment's own"
        )
    try:
        # A session of our own: the default one is shared, and not safe to use from threads.
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
                # Servers of one's own have one host name, and may not know the newer checksum trailers.
                s3={"addressing_style": "path" if config.endpoint else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except (ValueError, BotoCoreError) as exc:
        raise RejectedError(
            f"S3 at {_display(config)}: the endpoint or the region is not valid ({type(exc).__name__})"
        ) from exc
    return S3(client, config)


def _no_conditions(where: str) -> str:
    return f"S3 at {where} does not do conditional writes (If-Match), and without them two writers undo each other"


def _display(config: S3Config) -> str:
    """The endpoint without a user name or a password that it may carry."""
    if config.endpoint is None:
        return f"Amazon ({config.region})"
    try:
        parts = urlsplit(config.endpoint)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an endpoint that is no URL"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "an endpoint that is no URL"
