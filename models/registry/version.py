"""One version in the registry: its manifest, and whether its files are there and whole."""

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
    """One version in the registry: its manifest, as read and as bytes."""

    location: S3Location
    manifest: Manifest
    content: bytes

    @property
    def release(self) -> Release:
        """Its name and version."""
        return Release(self.manifest.name, self.manifest.version)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, in hex: it stands for every byte of the package."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the whole package."""
        return len(self.content) + self.manifest.size

    def key(self, file: str) -> str:
        """The key of one of its files."""
        return self.location.key(*self.release, file)

    def where(self, file: str) -> str:
        """What to call one of its files in an error."""
        return f"{self.location}/{'/'.join(self.release)}/{file}"


def read_version(location: S3Location, s3: S3, release: Release) -> Version:
    """Read the manifest of a version.

    Raises:
        ModelNotFoundError: There is no such version.
        ModelPackageError: Its manifest is malformed, or that of another version.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    stored = read_object(location, s3, location.key(*release, MANIFEST))
    if stored is None:
        raise ModelNotFoundError(f"{location} has no {release}: there is no {location.key(*release, MANIFEST)}")
    where = f"{location}/{'/'.join(release)}/{MANIFEST}"
    manifest = parse_manifest(stored.body, where)
    version = Version(location, manifest, stored.body)
    if version.release != release:
        raise ModelPackageError(f"{where} is that of {version.release}")
    return version


def check_sizes(version: Version, s3: S3) -> None:
    """Raise unless all files of a version are in S3 in their full size; nothing is downloaded.

    Raises:
        ModelDamagedError: A file has another size.
        ModelPackageError: A file is missing.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    sizes = _sizes(version, s3)
    for name in version.manifest.files:
        _check_size(version, name, sizes)


def download_file(version: Version, s3: S3, name: str, file: Path, on_bytes: OnBytes | None = None) -> None:
    """Download one file of a version and verify it.

    Raises:
        ModelDamagedError: It is not what the manifest says.
        ModelPackageError: It is missing.
        UnavailableError: S3 did not answer, or stopped in the middle.
        RejectedError: S3 refused.
        OSError: `file` cannot be written.
    """
    if not s3.download(version.location.bucket, version.key(name), file, on_bytes):
        raise ModelPackageError(f"{version.where(name)} is missing, though the manifest lists it")
    verify_file(file, version.manifest.files[name], version.where(name))


def damaged(version: Version, s3: S3) -> dict[str, ModelPackageError]:
    """What is wrong with the files of a version in S3, by name. Every file of the right size is read.

    Raises:
        ModelError: There is no room to read them into.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
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
            f"{version.where(name)} is damaged: it has {sizes[name]} bytes, and should have {expected} bytes"
        )
