"""Lists the objects below a prefix in pages, and downloads one if it still has the content that was listed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from connectors.errors import RejectedError, UnavailableError
from connectors.s3.client import S3, S3Config, connect
from connectors.s3.errors import is_missing, status

PAGE: Final = 1_000
"""Objects of one answer to ListObjectsV2, which is the most that S3 allows."""

_CHUNK_BYTES: Final = 1024 * 1024
_PRECONDITION_FAILED: Final = 412


class FoundObject(NamedTuple):
    """An object.

    Attributes:
        key: its key.
        size: its bytes.
        etag: changes with the content.
        modified: when it was written, aware.
    """

    key: str
    size: int
    etag: str
    modified: datetime


class ObjectPage(NamedTuple):
    """Some of the objects below a prefix, in the order of their keys, and whether there are more."""

    objects: list[FoundObject]
    more: bool


class ObjectReader(S3):
    """A connection that reads the objects of others. Thread-safe."""

    def page(self, bucket: str, prefix: str, after: str, *, most: int = PAGE) -> ObjectPage:
        """Returns the first objects below a prefix whose keys are behind `after` (ListObjectsV2, `StartAfter`).

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The server rejected the call, or there is no such bucket.
        """
        with self._errors(bucket):
            answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after, MaxKeys=most)
        found = [
            FoundObject(entry["Key"], entry["Size"], entry["ETag"], entry["LastModified"])
            for entry in answer.get("Contents", [])
        ]
        return ObjectPage(found, answer.get("IsTruncated", False))

    def find(self, bucket: str, key: str) -> FoundObject | None:
        """Returns an object as it is now; None if there is none.

        Raises:
            UnavailableError: The server did not answer.
            RejectedError: The server rejected the call.
        """
        try:
            with self._errors(bucket, key):
                answer = self._client.head_object(Bucket=bucket, Key=key)
        except RejectedError as exc:
            if is_missing(exc.__cause__):
                return None
            raise
        return FoundObject(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def fetch(
        self, bucket: str, key: str, etag: str, file: Path, *, stopped: Callable[[], bool] = lambda: False
    ) -> bool:
        """Write an object into a file, if it still has an ETag (`If-Match`).

        Args:
            bucket: the bucket.
            key: the key.
            etag: the ETag.
            file: the file.
            stopped: asked from time to time; if it returns True, the download ends with an UnavailableError.

        Returns:
            Whether the object exists with this ETag.

        Raises:
            UnavailableError: The server did not answer, or its answer was cut off.
            RejectedError: The server rejected the call.
        """
        try:
            with self._errors(bucket, key):
                answer = self._client.get_object(Bucket=bucket, Key=key, IfMatch=etag)
                with closing(answer["Body"]) as body, file.open("wb") as target:
                    for chunk in body.iter_chunks(_CHUNK_BYTES):
                        target.write(chunk)
                        if stopped():
                            raise UnavailableError(f"the download of {bucket}/{key} was stopped")
        except RejectedError as exc:
            if is_missing(exc.__cause__) or status(exc.__cause__) == _PRECONDITION_FAILED:
                return False
            raise
        return True


def connect_reader(config: S3Config) -> ObjectReader:
    """Make a connection object; nothing is sent yet.

    Raises:
        RejectedError: The endpoint is not a URL, or only one half of the credentials is given.
    """
    made = connect(config)
    return ObjectReader(made._client, config, made._transfer)
