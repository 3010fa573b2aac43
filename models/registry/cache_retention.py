"""Decides what the cache keeps: the copy that was last good for each channel, and the copies that were used last.

The *last good* version of a channel is the one that a worker on this cache last loaded and checked. It serves when a
worker starts and S3 does not answer. The record is `<cache>/.last-good/<digest of registry and channel>.json`.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from filelock import Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import ModelPackageError
from models.package.folder import ModelPackage
from models.package.manifest import PackageName, PackageVersion
from models.registry.cache import cache_errors, copy_folder, load_copy, manifest_digest, model_lock, remove_copy
from models.registry.channels import Release

KEPT_COPIES: Final = 3
"""Number of copies of a model that are kept, besides those that are last good. Three are enough to roll back twice."""

_LAST_GOOD: Final = ".last-good"
"""The folder of the records. No model can have this name."""


class LastGood(BaseModel):
    """The record of a channel's last good version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uri: str
    channel: str
    name: PackageName
    version: PackageVersion
    manifest_sha256: str

    def folder(self, cache: Path) -> Path:
        """Returns the folder of the version's copy."""
        return copy_folder(cache, Release(self.name, self.version), self.manifest_sha256)


def remember_good(package: ModelPackage, uri: str, channel: str, where: str, cache_dir: str | Path) -> None:
    """Record that a package was loaded and checked, for a start without S3.

    Args:
        package: The cached copy.
        uri: The registry.
        channel: The channel that points to the package.
        where: The server, as `S3.where`, because registries on two servers may have the same URI.
        cache_dir: The cache.

    Raises:
        ModelCacheError: The cache cannot be written.
    """
    cache = Path(cache_dir).expanduser()
    file = _record_file(cache, uri, channel, where)
    with cache_errors(cache):
        record = LastGood(
            uri=uri,
            channel=channel,
            name=package.manifest.name,
            version=package.manifest.version,
            manifest_sha256=manifest_digest(package),
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        # Write under another name and rename, because other workers read and write the same record.
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as stream:
            try:
                stream.write(record.model_dump_json() + "\n")
                stream.close()
                os.replace(stream.name, file)  # noqa: PTH105 - the temporary file's name is a string
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise


def last_good(uri: str, channel: str, where: str, cache_dir: str | Path) -> ModelPackage | None:
    """Verify and return the copy that `remember_good` recorded last; None if there is no record.

    Raises:
        ModelPackageError: The record or the copy is damaged, or the copy is missing.
        ModelCacheError: The cache cannot be read.
    """
    cache = Path(cache_dir).expanduser()
    with cache_errors(cache):
        record = _read(_record_file(cache, uri, channel, where))
        return None if record is None else load_copy(record.folder(cache), record.manifest_sha256)


def remove_old(name: str, cache_dir: str | Path) -> None:
    """Remove old copies of a model, and folders that killed processes left.

    The `KEPT_COPIES` copies that were used last are kept, and those that are the last good one of a channel. Nothing is
    removed while another process downloads this model. If a copy is removed between its download and its load, because
    other processes used `KEPT_COPIES` other copies meanwhile, it is downloaded again.

    Args:
        name: The model.
        cache_dir: The cache.

    Raises:
        ModelCacheError: The cache cannot be read or written.
    """
    cache = Path(cache_dir).expanduser()
    with cache_errors(cache):
        try:
            held = model_lock(cache / name).acquire(blocking=False)
        except Timeout:
            return
        with held:
            good = {record.folder(cache) for file in (cache / _LAST_GOOD).glob("*.json") if (record := _known(file))}
            folders = [path for path in (cache / name).iterdir() if path.is_dir()]
            copies = [path for path in folders if not path.name.startswith(".")]
            for leftover in set(folders).difference(copies):
                shutil.rmtree(leftover, ignore_errors=True)
            copies.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            for copy in copies[KEPT_COPIES:]:
                if copy not in good:
                    remove_copy(copy)


def _read(file: Path) -> LastGood | None:
    try:
        return LastGood.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as exc:
        raise ModelPackageError(f"{file} is malformed") from exc


def _known(file: Path) -> LastGood | None:
    try:
        return _read(file)
    except ModelPackageError:
        return None


def _record_file(cache: Path, uri: str, channel: str, where: str) -> Path:
    key = "\n".join((where, uri.rstrip("/"), channel))
    return cache / _LAST_GOOD / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
