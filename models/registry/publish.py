"""The registry in S3: immutable versions, and channels that point to them.

    s3://bucket/prefix/stable                              a channel; see `models.registry.channels`
    s3://bucket/prefix/<name>/<version>/manifest.json      written after the files it lists, so a version that has a
    s3://bucket/prefix/<name>/<version>/model.onnx …       manifest is complete
    s3://bucket/prefix/<name>/<version>.claim              written first: the digest of the one manifest that this
                                                           version can have

What is written once is never changed: a version is its manifest's digest, whatever points to it. The claim is made by a
conditional write, so that of two different packages under one version only one ever uploads a file.
"""

from dataclasses import dataclass

from connectors.s3.client import S3, OnBytes
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.package.folder import ModelPackage
from models.package.manifest import MANIFEST
from models.registry.channels import (
    LATEST,
    PROBE,
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
from models.registry.location import S3Location, read_object, registry_at
from models.registry.version import Version, check_sizes, damaged, read_version


@dataclass(frozen=True)
class Published:
    """What `publish` did. `pointer` is that of the channel, if one was asked for."""

    release: Release
    uploaded: bool
    moved: bool
    pointer: Pointer | None


def publish(
    package: ModelPackage, uri: str, s3: S3, *, channel: str | None = LATEST, on_bytes: OnBytes | None = None
) -> Published:
    """Upload a package, and move a channel to it.

    The files go first, the manifest after them, the pointer last, so that no reader ever meets half a version. Of a
    version that is there with the same content, every file is read and compared, and uploaded again only if it is
    missing or damaged.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: This version is there, or has been claimed, with other content; versions never change.
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
    """Move a channel to a version that is there; every file of it is read and compared with the manifest.

    Returns:
        The channel as it was before, None where it is new, and what it says now.

    Raises:
        ModelNotFoundError: There is no such version.
        ModelPackageError: A file of it is missing or damaged.
        ChannelMovedError: Someone else moved the channel meanwhile.
        ModelError, UnavailableError, RejectedError: As `models.registry.channels.move`.
    """
    seen = read_channel(location, s3, channel)
    version = read_version(location, s3, release)
    if faults := damaged(version, s3):
        raise faults[min(faults)]
    return seen, move(location, s3, channel, release, seen=seen)


def rollback(location: S3Location, s3: S3, channel: str, version: str | None = None) -> tuple[Channel, Pointer]:
    """Move a channel back to where it was before, or to an earlier version of its history.

    Versions that were rolled back before are passed over, so that several rollbacks go further and further back. Of the
    files only the sizes are compared: this must be quick, that version has served, and workers verify what they load.

    Returns:
        The channel as it was before, and what it says now.

    Raises:
        ModelNotFoundError: There is no such channel, or its history has no such version.
        ModelPackageError: A file of that version is missing or of another size.
        ChannelMovedError: Someone else moved the channel meanwhile.
        ModelError, UnavailableError, RejectedError: As `models.registry.channels.move`.
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
    check_sizes(read_version(location, s3, back), s3)
    return seen, move(location, s3, channel, back, seen=seen, withdraw=True)


def _upload(package: ModelPackage, location: S3Location, s3: S3, on_bytes: OnBytes | None = None) -> bool:
    """Upload what is not there, or damaged there; whether anything was."""
    version = Version(location, package.manifest, (package.path / MANIFEST).read_bytes())
    name, key = version.release.name, version.key(MANIFEST)
    present = read_object(location, s3, key)
    if present is None:
        if is_channel_name(name) and read_object(location, s3, location.key(name)) is not None:
            raise ModelError(f"{location}: {name} is the name of a channel, and so cannot be that of a model")
        _claim(version, s3)
    elif present.body != version.content and not _is_claimed(version, s3):
        raise _other_content(version)
    # Only one package has the claim, so whoever gets here may overwrite: the bytes are those of its manifest.
    wrong = version.manifest.files if present is None else damaged(version, s3)
    for file in wrong:
        s3.upload(location.bucket, version.key(file), package.path / file, on_bytes)
    if present is not None and present.body == version.content:
        return bool(wrong)
    etag = present.etag if present is not None else None
    if s3.put(location.bucket, key, version.content, if_absent=etag is None, if_match=etag):
        return True
    written = read_object(location, s3, key)
    if written is None or written.body != version.content:
        raise _other_content(version)
    return False  # another publication of the same package was faster


def _claim(version: Version, s3: S3) -> None:
    """Let one package have the version, before any file of it is written."""
    location = version.location
    s3.require_conditional_writes(location.bucket, location.key(PROBE))
    key = _claim_key(version)
    if s3.put(location.bucket, key, version.digest.encode(), if_absent=True):
        return
    if not _is_claimed(version, s3):
        raise ModelPackageError(
            f"{location}: {version.release} is being published with other content, or was and is unfinished; publish "
            f"under a new version (the claim is {key})"
        )


def _is_claimed(version: Version, s3: S3) -> bool:
    """Whether the claim is that of this very package."""
    claim = read_object(version.location, s3, _claim_key(version))
    return claim is not None and claim.body == version.digest.encode()


def _claim_key(version: Version) -> str:
    # Beside the folder, where neither a file of the package nor another version can be.
    return version.location.key(version.release.name, f"{version.release.version}.claim")


def _other_content(version: Version) -> ModelPackageError:
    return ModelPackageError(
        f"{version.location} already has {version.release} with other content; publish under a new version"
    )
