"""The registry in S3: immutable versions, and channels that point to them.

    s3://bucket/prefix/stable                              a channel; see `models.channels`
    s3://bucket/prefix/<name>/<version>/manifest.json      written after the files it lists, so a version that has a
    s3://bucket/prefix/<name>/<version>/model.onnx …       manifest is complete

What is written once is never changed: a version is its manifest's digest, whatever points to it.
"""

import hashlib
from dataclasses import dataclass

from connectors.s3 import S3, OnBytes
from models.channels import (
    LATEST,
    STABLE,
    Channel,
    Pointer,
    Release,
    check_channel_name,
    create,
    is_channel_name,
    move,
    read_channel,
    require_channel,
)
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.location import S3Location, read_object, registry_at
from models.package import MANIFEST, Manifest, ModelPackage, parse_manifest


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
        return len(self.content) + sum(entry.bytes for entry in self.manifest.files.values())

    def key(self, file: str) -> str:
        """The key of one of its files."""
        return self.location.key(*self.release, file)


@dataclass(frozen=True)
class Published:
    """What `publish` did. `pointer` is that of the channel, if one was asked for."""

    release: Release
    uploaded: bool
    moved: bool
    pointer: Pointer | None


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


def publish(
    package: ModelPackage, uri: str, s3: S3, *, channel: str | None = LATEST, on_bytes: OnBytes | None = None
) -> Published:
    """Upload a package, and move a channel to it.

    The files go first, the manifest after them, the pointer last, so that no reader ever meets half a version. A
    version that is there with the same content is not uploaded again.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: This version is there with other content; versions never change.
        ChannelMovedError: The channel was moved during the upload, and not by this call. The version is there.
        ModelError: The URI is not one of S3, or a channel and a model would have the same name.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = registry_at(uri)
    if channel is not None:
        check_channel_name(channel)
    seen = None if channel is None else read_channel(location, s3, channel)
    uploaded = _upload(package, location, s3, on_bytes)
    release = Release(package.manifest.name, package.manifest.version)
    if channel is None:
        return Published(release, uploaded, moved=False, pointer=None)
    pointer = move(location, s3, channel, release, seen=seen)
    return Published(release, uploaded, moved=seen is None or seen.pointer != pointer, pointer=pointer)


def publish_if_empty(package: ModelPackage, uri: str, s3: S3) -> tuple[str, ...]:
    """Give a new registry its first version, and the channels `latest` and `stable`.

    `latest` is made, with the package, where nothing has been published; `stable` is made, where there is none, as
    `latest` is then. Neither is ever moved. Safe to run twice and from several places at once.

    Returns:
        The channels that this call made.

    Raises:
        ModelError: As `publish`.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = registry_at(uri)
    made: list[str] = []
    if read_channel(location, s3, LATEST) is None:
        _upload(package, location, s3)
        if create(location, s3, LATEST, Release(package.manifest.name, package.manifest.version)):
            made.append(LATEST)
    if read_channel(location, s3, STABLE) is None:
        latest = require_channel(location, s3, LATEST)
        if create(location, s3, STABLE, latest.pointer.release):
            made.append(STABLE)
    return tuple(made)


def promote(location: S3Location, s3: S3, release: Release, channel: str) -> tuple[Channel | None, Pointer]:
    """Move a channel to a version that is there, with all its files in their full size.

    Returns:
        The channel as it was before, None where it is new, and what it says now.

    Raises:
        ModelNotFoundError: There is no such version.
        ModelPackageError: A file of it is missing or of another size.
        ChannelMovedError: Someone else moved the channel meanwhile.
        ModelError, UnavailableError, RejectedError: As `models.channels.move`.
    """
    seen = read_channel(location, s3, channel)
    _check_complete(location, s3, release)
    return seen, move(location, s3, channel, release, seen=seen)


def rollback(location: S3Location, s3: S3, channel: str, version: str | None = None) -> tuple[Channel, Pointer]:
    """Move a channel back to where it was before, or to an earlier version of its history.

    Versions that were rolled back before are passed over, so that several rollbacks go further and further back.

    Returns:
        The channel as it was before, and what it says now.

    Raises:
        ModelNotFoundError: There is no such channel, or its history has no such version.
        ModelPackageError: A file of that version is missing or of another size.
        ChannelMovedError: Someone else moved the channel meanwhile.
        ModelError, UnavailableError, RejectedError: As `models.channels.move`.
    """
    seen = require_channel(location, s3, channel)
    if version is None:
        back = seen.pointer.back()
        if back is None:
            raise ModelNotFoundError(f"the channel {channel} has no earlier version than {seen.pointer.release}")
    else:
        earlier = [p.release for p in seen.pointer.history]
        back = next((release for release in earlier if version in (release.version, "@".join(release))), None)
        if back is None:
            known = ", ".join(dict.fromkeys(map(str, earlier))) or "nothing else"
            raise ModelNotFoundError(f"the channel {channel} has not pointed to {version}; it has to: {known}")
    _check_complete(location, s3, back)
    return seen, move(location, s3, channel, back, seen=seen, withdraw=True)


def _upload(package: ModelPackage, location: S3Location, s3: S3, on_bytes: OnBytes | None = None) -> bool:
    """Upload what is not there; whether anything was."""
    manifest = package.manifest
    content = (package.path / MANIFEST).read_bytes()
    manifest_key = location.key(manifest.name, manifest.version, MANIFEST)
    present = read_object(location, s3, manifest_key)
    if present is None:
        if is_channel_name(manifest.name) and read_object(location, s3, location.key(manifest.name)) is not None:
            raise ModelError(f"{location}: {manifest.name} is the name of a channel, and so cannot be that of a model")
        for name in manifest.files:
            key = location.key(manifest.name, manifest.version, name)
            s3.upload(location.bucket, key, package.path / name, on_bytes)
        if s3.put(location.bucket, manifest_key, content, if_absent=True):
            return True
        present = read_object(location, s3, manifest_key)
    if present is None or present.body != content:
        raise ModelPackageError(
            f"{location} already has {manifest.name} {manifest.version} with other content; publish under a new version"
        )
    return False


def _check_complete(location: S3Location, s3: S3, release: Release) -> None:
    version = read_version(location, s3, release)
    base = version.key("")
    sizes = {info.key.removeprefix(f"{base}/"): info.size for info in s3.list(location.bucket, f"{base}/")}
    for name, entry in version.manifest.files.items():
        if sizes.get(name) != entry.bytes:
            found = f"has {sizes[name]}" if name in sizes else "is missing"
            where = f"{location}/{'/'.join(release)}/{name}"
            raise ModelPackageError(f"{where} {found}, and should have {entry.bytes} bytes")
