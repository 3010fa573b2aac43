"""Packages from the registry as verified local files, and which of them was the last good one.

    <cache>/<name>/<version>-<digest of the manifest>/     a verified copy; several registries can share a cache
    <cache>/.last-good/<digest of registry and channel>.json

May be shared by any number of processes: one downloads a package under a file lock while the others wait for it, and a
copy is renamed into place only once it is verified. Nothing is ever removed but what is damaged; the folder may be
emptied whenever no process is starting.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.s3 import S3, OnBytes
from models.channels import LATEST, Release, require_channel
from models.errors import ModelCacheError, ModelError, ModelPackageError
from models.location import parse_uri
from models.package import MANIFEST, ModelPackage, PackageName, PackageVersion, load_package, verify_file
from models.registry import Version, read_version

LOCK_TIMEOUT: Final = 600
"""Seconds to wait for another process that downloads the same package: a large model over a slow line."""

# No model can have this name.
_LAST_GOOD: Final = ".last-good"


class LastGood(BaseModel):
    """Which version of a channel was last loaded and found good on this cache."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uri: str
    channel: str
    name: PackageName
    version: PackageVersion
    manifest_sha256: str


def resolve(uri: str, s3: S3 | None, cache_dir: str | Path, channel: str = LATEST) -> ModelPackage:
    """Get the package that a URI and a channel stand for, verified, as local files.

    A valid cached copy costs two small reads from S3, a damaged one is downloaded again.

    Args:
        uri: ``s3://bucket/prefix`` or a folder.
        s3: The connection; may be None for a folder.
        cache_dir: Where downloaded packages are kept; see this module.
        channel: Of a registry; a folder has none.

    Raises:
        ModelNotFoundError: There is no such folder, bucket, channel or version.
        ModelPackageError: The package in the folder or in S3 is damaged.
        ModelError: The URI is neither form, or the cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = parse_uri(uri)
    if isinstance(location, Path):
        return load_package(location)
    if s3 is None:
        raise ModelError(f"{location} needs a connection to S3, and none is configured")
    pointer = require_channel(location, s3, channel).pointer
    return fetch(read_version(location, s3, pointer.release), s3, cache_dir)


def fetch(version: Version, s3: S3, cache_dir: str | Path, on_bytes: OnBytes | None = None) -> ModelPackage:
    """The verified local copy of a version, downloaded unless there is a valid one.

    Raises:
        ModelDamagedError: A file in S3 is not what the manifest says.
        ModelPackageError: A file is missing from S3.
        ModelCacheError: The cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    cache = Path(cache_dir).expanduser()
    folder = cache / _folder(version.release, version.digest)
    with _usable(cache):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=LOCK_TIMEOUT):
                try:
                    return _valid_copy(folder, version.digest)
                except ModelError:
                    pass  # absent or damaged
                # Only the holder of the lock uses this name, so what is found there is what a killed process left.
                partial = folder.with_name(f".{folder.name}.partial")
                shutil.rmtree(partial, ignore_errors=True)
                download(version, s3, partial, on_bytes)
                if folder.exists():
                    shutil.rmtree(folder)
                partial.rename(folder)
        except Timeout as exc:
            raise ModelCacheError(f"the model cache {folder} has been locked for {LOCK_TIMEOUT} s") from exc
    return ModelPackage(folder, version.manifest)


def download(version: Version, s3: S3, folder: Path, on_bytes: OnBytes | None = None) -> None:
    """Download a version into a new folder, and verify it; on failure the folder is removed.

    Raises:
        ModelDamagedError: A file in S3 is not what the manifest says.
        ModelPackageError: A file is missing from S3.
        UnavailableError: S3 did not answer, or stopped in the middle.
        RejectedError: S3 refused.
        OSError: The folder is there, or cannot be written.
    """
    folder.mkdir(parents=True)
    try:
        for name, entry in version.manifest.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            source = f"{version.location}/{'/'.join(version.release)}/{name}"
            if not s3.download(version.location.bucket, version.key(name), file, on_bytes):
                raise ModelPackageError(f"{source} is missing, though the manifest lists it")
            verify_file(file, entry, source)
        (folder / MANIFEST).write_bytes(version.content)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remember_good(package: ModelPackage, uri: str, channel: str, where: str, cache_dir: str | Path) -> None:
    """Note that a package was loaded and found good, for a start without S3.

    Args:
        package: The cached copy.
        uri: The registry.
        channel: The channel that pointed to it.
        where: The server, as `S3.where`: another one's registry of the same URI is another registry.
        cache_dir: The cache.

    Raises:
        ModelCacheError: The cache cannot be written.
    """
    cache = Path(cache_dir).expanduser()
    record = LastGood(
        uri=uri,
        channel=channel,
        name=package.manifest.name,
        version=package.manifest.version,
        manifest_sha256=manifest_digest(package),
    )
    file = _record_file(cache, uri, channel, where)
    with _usable(cache):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place: other workers write and read the same record.
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as stream:
            try:
                stream.write(record.model_dump_json() + "\n")
                stream.close()
                os.replace(stream.name, file)  # noqa: PTH105 - the temporary file's name is a string
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise


def last_good(uri: str, channel: str, where: str, cache_dir: str | Path) -> ModelPackage | None:
    """The copy that `remember_good` noted last, verified again; None if nothing was noted.

    Raises:
        ModelPackageError: The record, or the copy, is damaged or gone.
        ModelCacheError: The cache cannot be read.
    """
    cache = Path(cache_dir).expanduser()
    file = _record_file(cache, uri, channel, where)
    with _usable(cache):
        try:
            record = LastGood.model_validate_json(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as exc:
            raise ModelPackageError(f"{file} is malformed") from exc
    release = Release(record.name, record.version)
    return _valid_copy(cache / _folder(release, record.manifest_sha256), record.manifest_sha256)


def manifest_digest(package: ModelPackage) -> str:
    """SHA-256 of a package's manifest, in hex, as `Version.digest`."""
    return hashlib.sha256((package.path / MANIFEST).read_bytes()).hexdigest()


def _valid_copy(folder: Path, digest: str) -> ModelPackage:
    package = load_package(folder)
    if manifest_digest(package) != digest:
        raise ModelPackageError(f"{folder / MANIFEST} is damaged")
    return package


def _folder(release: Release, digest: str) -> Path:
    return Path(release.name) / f"{release.version}-{digest[:12]}"


def _record_file(cache: Path, uri: str, channel: str, where: str) -> Path:
    key = "\n".join((where, uri.rstrip("/"), channel))
    return cache / _LAST_GOOD / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


@contextmanager
def _usable(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ModelCacheError(f"the model cache {cache} cannot be used: {exc.strerror or exc}") from exc
