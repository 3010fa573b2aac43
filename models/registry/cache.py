"""The cache: verified local copies of packages from the registry.

    <cache>/<name>/<version>-<digest of the manifest>/     a verified copy; several registries can share a cache
    <cache>/<name>/.lock                                   held while copies of this model are written or removed

Any number of processes can share a cache. One of them downloads a package under a file lock while the others wait. A
copy is renamed to its final name only when it is verified. `models.registry.cache_retention` removes old copies.
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
"""Seconds to wait for another process that downloads the same model: enough for a large model over a slow line."""

_LOCK_POLL_S: Final = 0.5
"""Seconds between two checks whether the wait for the lock was cancelled."""


def resolve(uri: str, s3: S3, cache_dir: str | Path, channel: str = LATEST) -> ModelPackage:
    """Returns the verified local copy of the package that a channel points to.

    With a valid copy in the cache this takes two small reads from S3. A damaged copy is downloaded again.

    Args:
        uri: The registry, ``s3://bucket/prefix``.
        s3: The connection.
        cache_dir: The cache.
        channel: The channel.

    Raises:
        ModelNotFoundError: There is no such bucket, channel or version.
        ModelPackageError: The package in S3 is damaged.
        ModelError: The URI is not that of a registry, or the cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    location = registry_at(uri)
    pointer = require_channel(location, s3, channel).pointer
    return fetch(read_version(location, s3, pointer.release), s3, cache_dir)


def fetch(version: Version, s3: S3, cache_dir: str | Path, on_bytes: OnBytes | None = None) -> ModelPackage:
    """Returns the verified local copy of a version. It is downloaded unless the cache has a valid copy.

    Args:
        version: The version.
        s3: The connection.
        cache_dir: The cache.
        on_bytes: Called with the progress; called with 0 bytes twice a second while another process has the lock.

    Raises:
        ModelDamagedError: A file in S3 differs from the manifest.
        ModelPackageError: A file is missing in S3.
        ModelCacheError: The cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    cache = Path(cache_dir).expanduser()
    folder = copy_folder(cache, version.release, version.digest)
    with cache_errors(cache):
        copy = _valid_copy(folder, version.digest)
        if copy is None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(folder.parent, on_bytes):
                copy = _valid_copy(folder, version.digest) or _replace(folder, version, s3, on_bytes)
        with suppress(OSError):  # the cache may belong to another user
            os.utime(folder)  # `remove_old` keeps the copies that were used last
    return copy


def download(version: Version, s3: S3, folder: Path, on_bytes: OnBytes | None = None) -> None:
    """Download a version into a new folder, and verify it. If that fails, the folder is removed.

    First the sizes in S3 are compared with the manifest, so that nothing is downloaded if they differ. A file that
    arrives damaged is downloaded a second time, because the error may be in the transfer.

    Raises:
        ModelDamagedError: A file in S3 differs from the manifest.
        ModelPackageError: A file is missing in S3.
        UnavailableError: S3 did not answer, or its answer was cut off.
        RejectedError: S3 rejected the call.
        OSError: The folder exists already, or cannot be written.
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
    """Returns the folder of a version's copy, given the SHA-256 of its manifest in hex."""
    return cache / release.name / f"{release.version}-{digest[:12]}"


def load_copy(folder: Path, digest: str) -> ModelPackage:
    """Read and verify a copy.

    Raises:
        ModelError: The copy is missing or damaged, or cannot be read.
    """
    package = load_package(folder)
    if manifest_digest(package) != digest:
        raise ModelPackageError(f"{folder / MANIFEST} is damaged")
    return package


def manifest_digest(package: ModelPackage) -> str:
    """Returns the SHA-256 of a package's manifest in hex, as `Version.digest`."""
    return hashlib.sha256((package.path / MANIFEST).read_bytes()).hexdigest()


@contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Translate errors of the file system into `ModelCacheError`."""
    try:
        yield
    except OSError as exc:
        raise ModelCacheError(f"the model cache {cache} cannot be used: {exc.strerror or exc}") from exc


def model_lock(folder: Path) -> FileLock:
    """Returns the lock of a model's folder. All versions share it, so that removed versions leave no lock files."""
    return FileLock(folder / ".lock")


def remove_copy(folder: Path) -> None:
    """Remove a copy. It is renamed first, so that no process sees a part of it. The caller must hold the lock."""
    removed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _valid_copy(folder: Path, digest: str) -> ModelPackage | None:
    """Returns the copy; None if it is missing or damaged.

    Raises:
        OSError: The copy cannot be read now, for example for want of open files; it may be intact.
    """
    try:
        return load_copy(folder, digest)
    except ModelError as exc:
        fault = exc.__cause__
        if isinstance(fault, OSError) and not isinstance(fault, FileNotFoundError | NotADirectoryError):
            raise fault from None
        return None


def _replace(folder: Path, version: Version, s3: S3, on_bytes: OnBytes | None) -> ModelPackage:
    # Only the holder of the lock uses this name, so an existing folder was left by a process that was killed.
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
            held = lock.acquire(timeout=_LOCK_POLL_S)
            break
        except Timeout as exc:
            if time.monotonic() >= deadline:
                raise ModelCacheError(
                    f"the model cache {folder} has been locked by another process for {LOCK_TIMEOUT} s"
                ) from exc
            if on_bytes is not None:
                on_bytes(0)
    with held:
        yield
