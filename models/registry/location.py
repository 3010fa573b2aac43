"""Model URIs: a URI names the folder of a package, or a registry below a prefix in S3."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import RejectedError
from connectors.s3.client import S3, Stored
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.package.manifest import MAX_MANIFEST_BYTES

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")


@dataclass(frozen=True)
class S3Location:
    """A registry in S3."""

    bucket: str
    prefix: str

    def key(self, *parts: str) -> str:
        """Returns the key of an object below the prefix."""
        return "/".join(part for part in (self.prefix, *parts) if part)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_uri(uri: str) -> S3Location | Path:
    """Parse a model URI: ``s3://bucket/prefix``, or the path of a folder.

    Raises:
        ModelError: The text is neither of them.
    """
    if not uri.strip():
        raise ModelError("the model URI is empty: give s3://bucket/prefix or a folder")
    if not _SCHEME.match(uri):
        return Path(uri).expanduser()
    scheme, rest = uri.split("://", 1)
    if scheme.lower() != "s3":
        raise ModelError(f"model URI {scheme}://…: give s3://bucket/prefix or a folder")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.match(bucket):
        raise ModelError(f"model URI {uri!r}: {bucket!r} is not a bucket name")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ModelError(f"model URI {uri!r}: the prefix has an empty or a dotted part")
    return S3Location(bucket, prefix)


def registry_at(uri: str) -> S3Location:
    """Returns the registry that a URI names.

    Raises:
        ModelError: The URI names a folder, or is malformed.
    """
    location = parse_uri(uri)
    if isinstance(location, Path):
        raise ModelError(f"a model registry must be s3://bucket/prefix, not the folder {location}")
    return location


@contextmanager
def bucket_errors(location: S3Location, s3: S3) -> Iterator[None]:
    """Translate a refusal of S3 into `ModelNotFoundError` if the registry's bucket does not exist.

    Raises:
        ModelNotFoundError: There is no such bucket.
    """
    try:
        yield
    except RejectedError as exc:
        # Checking the bucket only after a refusal saves a request each time.
        if not s3.bucket_exists(location.bucket):
            raise ModelNotFoundError(f"{location}: there is no bucket {location.bucket}") from exc
        raise


def read_object(location: S3Location, s3: S3, key: str) -> Stored | None:
    """Read a manifest, a pointer or a claim of a registry; None if the object does not exist.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: The object is larger than a manifest can be.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    with bucket_errors(location, s3):
        stored = s3.read(location.bucket, key, limit=MAX_MANIFEST_BYTES + 1)
    if stored is not None and len(stored.body) > MAX_MANIFEST_BYTES:
        raise ModelPackageError(f"s3://{location.bucket}/{key} is larger than {MAX_MANIFEST_BYTES} bytes")
    return stored
