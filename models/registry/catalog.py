"""Lists a registry, and finds the version that a user names."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError
from semver import Version

from connectors.s3.client import S3
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.package.manifest import MANIFEST, PackageName, PackageVersion
from models.registry.channels import Channel, Release, is_channel_name, read_channel
from models.registry.location import S3Location, bucket_errors
from models.registry.version import read_version

_NAME: Final[TypeAdapter[str]] = TypeAdapter(PackageName)
_VERSION: Final[TypeAdapter[str]] = TypeAdapter(PackageVersion)


@dataclass(frozen=True)
class Contents:
    """The content of a registry.

    Attributes:
        channels: The channels by name.
        releases: The complete versions, each with the sizes of its objects by name.
        problems: By name, why an object at the place of a channel's pointer is not a pointer.
    """

    channels: dict[str, Channel]
    releases: dict[Release, dict[str, int]]
    problems: dict[str, str]


def contents(location: S3Location, s3: S3) -> Contents:
    """List a registry. Versions without a manifest are unfinished uploads and are left out.

    Raises:
        ModelNotFoundError: There is no such bucket.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    base = f"{location.prefix}/" if location.prefix else ""
    names: list[str] = []
    found: dict[Release, dict[str, int]] = {}
    with bucket_errors(location, s3):
        for info in s3.list(location.bucket, base):
            name, _, rest = info.key.removeprefix(base).partition("/")
            version, _, file = rest.partition("/")
            if not rest and is_channel_name(name):
                names.append(name)
            elif file:
                found.setdefault(Release(name, version), {})[file] = info.size
    channels: dict[str, Channel] = {}
    problems: dict[str, str] = {}
    for name in names:
        try:
            channel = read_channel(location, s3, name)
        except ModelPackageError as exc:
            problems[name] = str(exc)
        else:
            if channel is not None:
                channels[name] = channel
    complete = (release for release in found if MANIFEST in found[release] and _is_release(release))
    releases = {release: found[release] for release in sorted(complete, key=precedence)}
    return Contents(channels, releases, problems)


def find(location: S3Location, s3: S3, reference: str) -> Release:
    """Returns the version that a reference names.

    Args:
        location: The registry.
        s3: The connection.
        reference: ``NAME@VERSION``, a channel, a ``NAME`` (for its newest version), or a ``VERSION`` alone.

    Raises:
        ModelNotFoundError: The registry has no such channel, model or version.
        ModelError: Several models have this version.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    name, at, version = reference.partition("@")
    if at:
        release = Release(name, version)
        if not _is_release(release):
            raise ModelNotFoundError(f"{reference!r} is not NAME@VERSION, such as emotion@1.2.0")
        return read_version(location, s3, release).release
    if is_channel_name(reference):
        channel = read_channel(location, s3, reference)
        if channel is not None:
            return channel.pointer.release
    held = contents(location, s3)
    if same_name := [release for release in held.releases if release.name == reference]:
        return same_name[-1]
    same_version = [release for release in held.releases if release.version == reference]
    if len(same_version) > 1:
        raise ModelError(f"{reference} is a version of {_listed(r.name for r in same_version)}: give NAME@VERSION")
    if same_version:
        return same_version[0]
    raise ModelNotFoundError(
        f"{location} has no channel, model or version {reference!r}; channels: {_listed(held.channels)}; "
        f"models: {_listed({release.name for release in held.releases})}"
    )


def precedence(release: Release) -> tuple[str, Version, str]:
    """Returns a sort key: by name, then by the precedence of semantic versions (semver.org, 11), oldest first.

    Versions that differ only in their build metadata have the same precedence. They are sorted by their text.
    """
    return release.name, Version.parse(release.version), release.version


def _is_release(release: Release) -> bool:
    try:
        _NAME.validate_python(release.name)
        _VERSION.validate_python(release.version)
    except ValidationError:
        return False
    return True


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
