"""One version in the registry: reads its manifest, checks its files, and downloads them."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors.s3.client import S3, OnBytes
from models.errors import ModelDamagedError, ModelError, ModelNotFoundError, ModelPackageError
from models.package.folder import verify_file
from models.package.manifest import MANIFEST, Manifest, parse_manifest
from models.registry.channels import Release
from models.registry.location import S3Location, read_object


@dataclass(frozen=True)
class Version:
    """One version in the registry.

    Attributes:
        location: The registry.
        manifest: The version's manifest.
        content: The bytes of the manifest.
    """

    location: S3Location
    manifest: Manifest
    content: bytes

    @property
    def release(self) -> Release:
        """The name and the version of the model."""
        return Release(self.manifest.name, self.manifest.version)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest in hex. It covers the SHA-256 of every file, so it identifies the package."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def size(self) -> int:
        """Size of the package in bytes, with the manifest."""
        return len(self.content) + self.manifest.size

    def key(self, file: str) -> str:
        """Returns the key of one of the version's files."""
        return self.location.key(*self.release, file)

    def where(self, file: str) -> str:
        """Returns the name of one of the version's files in messages."""
        return f"{self.location}/{'/'.join(self.release)}/{file}"


def read_version(location: S3Location, s3: S3, release: Release) -> Version:
    """Read the manifest of a version.

    Raises:
        ModelNotFoundError: There is no such version.
        ModelPackageError: The manifest is malformed, or it is the manifest of another version.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    stored = read_object(location, s3, location.key(*release, MANIFEST))
    if stored is None:
        raise ModelNotFoundError(f"{location} has no {release}: there is no {location.key(*release, MANIFEST)}")
    where = f"{location}/{'/'.join(release)}/{MANIFEST}"
    manifest = parse_manifest(stored.body, where)
    version = Version(location, manifest, stored.body)
    if version.release != release:
        raise ModelPackageError(f"{where} is the manifest of {version.release}")
    return version


def check_sizes(version: Version, s3: S3) -> None:
    """Raise unless all files of a version are in S3 and have their sizes. Nothing is downloaded.

    Raises:
        ModelDamagedError: A file has another size.
        ModelPackageError: A file is missing.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    sizes = _sizes(version, s3)
    for name in version.manifest.files:
        _check_size(version, name, sizes)


def download_file(version: Version, s3: S3, name: str, file: Path, on_bytes: OnBytes | None = None) -> None:
    """Download one file of a version and verify it.

    Raises:
        ModelDamagedError: The file differs from the manifest.
        ModelPackageError: The file is missing in S3.
        UnavailableError: S3 did not answer, or its answer was cut off.
        RejectedError: S3 rejected the call.
        OSError: `file` cannot be written.
    """
    if not s3.download(version.location.bucket, version.key(name), file, on_bytes):
        raise ModelPackageError(f"{version.where(name)} is missing, though the manifest lists it")
    verify_file(file, version.manifest.files[name], version.where(name))


def damaged(version: Version, s3: S3) -> dict[str, ModelPackageError]:
    """Read all files of a version in S3, and return the error for each file that is missing or damaged, by name.

    Raises:
        ModelError: The temporary folder for the files cannot be written.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    sizes = _sizes(version, s3)
    found: dict[str, ModelPackageError] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="emostream-model-") as folder:
            file = Path(folder) / "file"
            for name in version.manifest.files:
                try:
                    _check_size(version, name, sizes)
                    download_file(version, s3, name, file)
                except ModelPackageError as exc:
                    found[name] = exc
    except OSError as exc:
        raise ModelError(f"{version.release} cannot be checked: {exc.strerror or exc}") from exc
    return found


def _sizes(version: Version, s3: S3) -> dict[str, int]:
    base = f"{version.key('')}/"
    return {info.key.removeprefix(base): info.size for info in s3.list(version.location.bucket, base)}


def _check_size(version: Version, name: str, sizes: Mapping[str, int]) -> None:
    expected = version.manifest.files[name].bytes
    if name not in sizes:
        raise ModelPackageError(f"{version.where(name)} is missing, though the manifest lists it")
    if sizes[name] != expected:
        raise ModelDamagedError(
            f"{version.where(name)} is damaged: it has {sizes[name]} bytes instead of {expected} bytes"
        )
