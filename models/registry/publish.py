"""Publishes packages to a registry in S3, and promotes and rolls back its channels.

    s3://bucket/prefix/stable                              a channel; see `models.registry.channels`
    s3://bucket/prefix/<name>/<version>/manifest.json      written after the files that it lists, so a version with a
    s3://bucket/prefix/<name>/<version>/model.onnx …       manifest is complete
    s3://bucket/prefix/<name>/<version>.claim              written first: the digest of the only manifest that this
                                                           version can have

Versions are immutable. A package is published in these steps:

1. write the claim, by a conditional write, so that of two different packages under one version only one uploads files;
2. upload the files;
3. write the manifest;
4. move the channel.
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
    """What `publish` did.

    Attributes:
        release: The version.
        uploaded: Whether this call uploaded anything.
        moved: Whether this call moved the channel.
        pointer: The channel's pointer; None if no channel was given.
    """

    release: Release
    uploaded: bool
    moved: bool
    pointer: Pointer | None


def publish(
    package: ModelPackage, uri: str, s3: S3, *, channel: str | None = LATEST, on_bytes: OnBytes | None = None
) -> Published:
    """Upload a package, and move a channel to it; see this module for the steps.

    If the version exists with the same content, every file in S3 is read and compared. Only missing and damaged files
    are uploaded again.

    Args:
        package: The package.
        uri: The registry, ``s3://bucket/prefix``.
        s3: The connection.
        channel: The channel to move; None moves none.
        on_bytes: Called with the progress of the upload.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: The version exists, or was claimed, with other content.
        ChannelMovedError: Another process moved the channel during the upload. The version is published.
        ModelError: The URI is not that of a registry, or a channel and a model would have the same name.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
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
    """Publish the first version of a registry, and create the channels `latest` and `stable`.

    If there is no `latest`, the package is published and `latest` points to it. If there is no `stable`, it is created
    and points to the version of `latest`. Existing channels are not moved. Safe to call twice, and from several
    processes at once.

    Returns:
        The channels that this call created.

    Raises:
        ModelError: As `publish`.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
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
    """Move a channel to a version. First every file of the version is read and compared with the manifest.

    Returns:
        The channel before the move, None if it is new; and its pointer after the move.

    Raises:
        ModelNotFoundError: There is no such version.
        ModelPackageError: A file of the version is missing or damaged.
        ChannelMovedError: Another process moved the channel meanwhile.
        ModelError, UnavailableError, RejectedError: As `models.registry.channels.move`.
    """
    seen = read_channel(location, s3, channel)
    version = read_version(location, s3, release)
    if faults := damaged(version, s3):
        raise faults[min(faults)]
    return seen, move(location, s3, channel, release, seen=seen)


def rollback(location: S3Location, s3: S3, channel: str, version: str | None = None) -> tuple[Channel, Pointer]:
    """Move a channel back to its previous version, or to an earlier version of its history.

    Versions that were rolled back before are skipped, so each rollback goes one version further back. Only the sizes of
    the files are compared, because a rollback must be quick and workers verify the files when they load the version.

    Args:
        location: The registry.
        s3: The connection.
        channel: The channel.
        version: The earlier version, as ``VERSION`` or ``NAME@VERSION``; None is the previous one.

    Returns:
        The channel before the move, and its pointer after the move.

    Raises:
        ModelNotFoundError: There is no such channel, or its history has no such version.
        ModelPackageError: A file of that version is missing or has another size.
        ChannelMovedError: Another process moved the channel meanwhile.
        ModelError, UnavailableError, RejectedError: As `models.registry.channels.move`.
    """
    seen = require_channel(location, s3, channel)
    if version is None:
        target = seen.pointer.rollback_target()
        if target is None:
            raise ModelNotFoundError(f"the channel {channel} has no earlier version than {seen.pointer.release}")
    else:
        earlier = [p.release for p in seen.pointer.history]
        target = next((release for release in earlier if version in (release.version, "@".join(release))), None)
        if target is None:
            known = ", ".join(dict.fromkeys(map(str, earlier))) or "none"
            raise ModelNotFoundError(
                f"the channel {channel} has not pointed to {version} before; its earlier versions are: {known}"
            )
    check_sizes(read_version(location, s3, target), s3)
    return seen, move(location, s3, channel, target, seen=seen, rolled_back=True)


def _upload(package: ModelPackage, location: S3Location, s3: S3, on_bytes: OnBytes | None = None) -> bool:
    """Upload the files that are missing or damaged in S3, and return whether anything was uploaded (steps 1 to 3)."""
    version = Version(location, package.manifest, (package.path / MANIFEST).read_bytes())
    name, key = version.release.name, version.key(MANIFEST)
    present = read_object(location, s3, key)
    if present is None:
        if is_channel_name(name) and read_object(location, s3, location.key(name)) is not None:
            raise ModelError(f"{location}: {name} is the name of a channel, so a model cannot have it")
        # Step 1: write the claim.
        _claim(version, s3)
    elif present.body != version.content and not _is_claimed(version, s3):
        raise _other_content(version)
    # Step 2: upload the files. This package has the claim, so files that are there can be overwritten.
    wrong = version.manifest.files if present is None else damaged(version, s3)
    for file in wrong:
        s3.upload(location.bucket, version.key(file), package.path / file, on_bytes)
    if present is not None and present.body == version.content:
        return bool(wrong)
    # Step 3: write the manifest.
    etag = present.etag if present is not None else None
    if s3.put(location.bucket, key, version.content, if_absent=etag is None, if_match=etag):
        return True
    written = read_object(location, s3, key)
    if written is None or written.body != version.content:
        raise _other_content(version)
    return False  # another process has published the same package meanwhile


def _claim(version: Version, s3: S3) -> None:
    """Claim the version for one package, before any of its files is written.

    Raises:
        ModelPackageError: A package with other content has claimed the version.
    """
    location = version.location
    s3.require_conditional_writes(location.bucket, location.key(PROBE))
    key = _claim_key(version)
    if s3.put(location.bucket, key, version.digest.encode(), if_absent=True):
        return
    if not _is_claimed(version, s3):
        raise ModelPackageError(
            f"{location}: {version.release} is being published with other content, or its publication was cut off; "
            f"publish under a new version (the claim is {key})"
        )


def _is_claimed(version: Version, s3: S3) -> bool:
    """Returns whether the claim in S3 is that of this package."""
    claim = read_object(version.location, s3, _claim_key(version))
    return claim is not None and claim.body == version.digest.encode()


def _claim_key(version: Version) -> str:
    # Beside the version's folder: no file of the package and no other version can have this key.
    return version.location.key(version.release.name, f"{version.release.version}.claim")


def _other_content(version: Version) -> ModelPackageError:
    return ModelPackageError(
        f"{version.location} already has {version.release} with other content; publish under a new version"
    )
