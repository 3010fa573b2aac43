"""Packages from the registry as verified local files.

    <cache>/<name>/<version>-<digest of the manifest>/     a verified copy; several registries can share a cache
    <cache>/<name>/.lock                                   held while copies of this model are written or removed

May be shared by any number of processes: one downloads a package under a file lock while the others wait for it, and a
copy is renamed into place only once it is verified. What is removed and when is in `models.registry.cache_keep`.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from connectors.s3.client import S3, OnBytes
from models.errors import ModelCacheError, ModelDamagedError, ModelError, ModelPackageError
from models.package.folder import ModelPackage, load_package
from models.package.manifest import MANIFEST
from models.registry.channels import LATEST, Release, require_channel
from models.registry.location import registry_at
from models.registry.version import Version, check_sizes, download_file, read_version

LOCK_TIMEOUT: Final = 600
"""Seconds to wait for another process that downloads the same model: a large one over a slow line."""

# How often a wait for the lock looks whether it was cancelled, seconds.
_LOCK_LOOK_S: Final = 0.5


def resolve(uri: str, s3: S3, cache_dir: str | Path, channel: str = LATEST) -> ModelPackage:
    """Get the package that a channel of a registry points to, verified, as local files.

    A valid cached copy costs two small reads from S3, a damaged one is downloaded again.

    Args:
        uri: ``s3://bucket/prefix``.
        s3: The connection.
        cache_dir: Where downloaded packages are kept; see this module.
        channel: Which one.

    Raises:
        ModelNotFoundError: There is no such bucket, channel or version.
        ModelPackageError: The package in S3 is damaged.
        ModelError: The URI names no registry, or the cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = registry_at(uri)
    pointer = require_channel(location, s3, channel).pointer
    return fetch(read_version(location, s3, pointer.release), s3, cache_dir)


def fetch(version: Version, s3: S3, cache_dir: str | Path, on_bytes: OnBytes | None = None) -> ModelPackage:
    """The verified local copy of a version, downloaded unless there is a valid one.

    Args:
        version: The version.
        s3: The connection.
        cache_dir: The cache.
        on_bytes: Told of progress; told of 0 bytes twice a second while another process has the lock.

    Raises:
        ModelDamagedError: A file in S3 is not what the manifest says.
        ModelPackageError: A file is missing from S3.
        ModelCacheError: The cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    cache = Path(cache_dir).expanduser()
    folder = copy_folder(cache, version.release, version.digest)
    with cache_errors(cache):
        copy = _valid_copy(folder, version.digest)
        if copy is None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(folder.parent, on_bytes):
                copy = _valid_copy(folder, version.digest) or _replace(folder, version, s3, on_bytes)
        with suppress(OSError):  # the cache of another user
            os.utime(folder)  # the time of its last use, by which copies are kept
    return copy


def download(version: Version, s3: S3, folder: Path, on_bytes: OnBytes | None = None) -> None:
    """Download a version into a new folder, and verify it; on failure the folder is removed.

    Nothing is downloaded where a file in S3 has another size than the manifest says. A file that arrives damaged is
    downloaded once more: networks and servers have bad moments.

    Raises:
        ModelDamagedError: A file in S3 is not what the manifest says.
        ModelPackageError: A file is missing from S3.
        UnavailableError: S3 did not answer, or stopped in the middle.
        RejectedError: S3 refused.
        OSError: The folder is there, or cannot be written.
    """
    check_sizes(version, s3)
    folder.mkdir(parents=True)
    try:
        for name in version.manifest.files:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                download_file(version, s3, name, file, on_bytes)
            except ModelDamagedError:
                download_file(version, s3, name, file, on_bytes)
        (folder / MANIFEST).write_bytes(version.content)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def copy_folder(cache: Path, release: Release, digest: str) -> Path:
    """Where the copy of a version is; `digest` is that of its manifest."""
    return cache / release.name / f"{release.version}-{digest[:12]}"


def load_copy(folder: Path, digest: str) -> ModelPackage:
    """Verify a copy.

    Raises:
        ModelError: It is not there, damaged, or cannot be read.
    """
    package = load_package(folder)
    if manifest_digest(package) != digest:
        raise ModelPackageError(f"{folder / MANIFEST} is damaged")
    return package


def manifest_digest(package: ModelPackage) -> str:
    """SHA-256 of a package's manifest, in hex, as `Version.digest`."""
    return hashlib.sha256((package.path / MANIFEST).read_bytes()).hexdigest()


@contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Raise `ModelCacheError` where the file system fails."""
    try:
        yield
    except OSError as exc:
        raise ModelCacheError(f"the model cache {cache} cannot be used: {exc.strerror or exc}") from exc


def model_lock(folder: Path) -> FileLock:
    """The lock of a model's folder; one for all versions, so that no lock file is ever left over."""
    return FileLock(folder / ".lock")


def remove_copy(folder: Path) -> None:
    """Remove a copy at once: nobody sees it half removed. The caller holds the lock."""
    aside = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _valid_copy(folder: Path, digest: str) -> ModelPackage | None:
    """The copy; None where it is absent or damaged. What only cannot be read now is neither.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return load_copy(folder, digest)
    except ModelError as exc:
        fault = exc.__cause__
        if isinstance(fault, OSError) and not isinstance(fault, FileNotFoundError | NotADirectoryError):
            raise fault from None
        return None


def _replace(folder: Path, version: Version, s3: S3, on_bytes: OnBytes | None) -> ModelPackage:
    # Only the holder of the lock uses this name, so what is found there is what a killed process left.
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    download(version, s3, partial, on_bytes)
    if folder.exists():
        remove_copy(folder)
    partial.rename(folder)
    return ModelPackage(folder, version.manifest)


@contextmanager
def _locked(folder: Path, on_bytes: OnBytes | None) -> Iterator[None]:
    lock = model_lock(folder)
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            held = lock.acquire(timeout=_LOCK_LOOK_S)
            break
        except Timeout as exc:
            if time.monotonic() >= deadline:
                raise ModelCacheError(f"the model cache {folder} has been locked for {LOCK_TIMEOUT} s") from exc
            if on_bytes is not None:
                on_bytes(0)
    with held:
        yield
