"""Channels of a registry: names that point to one version, and are moved by one write.

    s3://bucket/prefix/stable      {"name": …, "version": …, "moved_at": …, "moved_by": …, "history": […]}

A move is a compare-and-set. The write has the ETag of the pointer that it replaces as its condition (`If-Match`; for a
new channel `If-None-Match: *`), and the server decides. Of two concurrent moves one succeeds, and the other fails with
`ChannelMovedError`.
"""

import getpass
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from connectors.s3.client import S3
from models.errors import ChannelMovedError, ModelError, ModelNotFoundError, ModelPackageError
from models.package.manifest import PackageName, PackageVersion
from models.registry.location import S3Location, read_object

LATEST: Final = "latest"
STABLE: Final = "stable"

HISTORY_LIMIT: Final = 20
"""Number of earlier positions that a pointer keeps. A pointer of this length fits into one or two network packets."""

PROBE: Final = ".conditional-writes"
"""The object on which conditional writes are tried. No channel can have this name."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_MAX_NAME: Final = 50


class Release(NamedTuple):
    """One version of one model."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class ChannelEntry(BaseModel):
    """A version that a channel points or pointed to. Fields of later versions of this program are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: PackageName
    version: PackageVersion
    moved_at: AwareDatetime | None = Field(default=None, description="When the channel was moved to this version.")
    moved_by: str | None = Field(default=None, max_length=200, description="Who moved it to this version: user@host.")
    withdrawn: bool = Field(
        default=False, description="Whether this version was rolled back; no later rollback returns to it."
    )

    @property
    def release(self) -> Release:
        """The version."""
        return Release(self.name, self.version)


class Pointer(ChannelEntry):
    """The content of a pointer object: the current version, and the earlier ones, latest first."""

    history: Annotated[tuple[ChannelEntry, ...], Field(max_length=1_000)] = ()

    def rollback_target(self) -> Release | None:
        """Returns the latest earlier version that was not rolled back itself; None if there is none."""
        passed = {self.release}
        for position in self.history:
            if not position.withdrawn and position.release not in passed:
                return position.release
            passed.add(position.release)
        return None


@dataclass(frozen=True)
class Channel:
    """A channel at the time when it was read."""

    name: str
    pointer: Pointer
    etag: str


def is_channel_name(name: str) -> bool:
    """Returns whether a channel may have this name."""
    return len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def check_channel_name(name: str) -> None:
    """Raise unless a channel may have this name.

    Raises:
        ModelError: The name is not valid.
    """
    if not is_channel_name(name):
        raise ModelError(
            f"{name!r} is not a valid channel name: use at most {_MAX_NAME} lower-case letters, digits and '-', "
            "beginning with a letter"
        )


def read_channel(location: S3Location, s3: S3, name: str) -> Channel | None:
    """Read a channel; None if there is no such channel.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: The pointer is malformed.
        ModelError: The name is not valid.
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call.
    """
    check_channel_name(name)
    stored = read_object(location, s3, location.key(name))
    if stored is None:
        return None
    try:
        return Channel(name, Pointer.model_validate_json(stored.body), stored.etag)
    except ValidationError as exc:
        raise ModelPackageError(f"{location}/{name} is malformed: it does not name a model and a version") from exc


def require_channel(location: S3Location, s3: S3, name: str) -> Channel:
    """Read a channel that must exist.

    Raises:
        ModelNotFoundError: There is no such channel or bucket.
        ModelError, UnavailableError, RejectedError: As `read_channel`.
    """
    channel = read_channel(location, s3, name)
    if channel is None:
        hint = (
            "; `emostream init` creates it in the registry of the main model, "
            f"`emostream model publish FOLDER --uri {location} --channel {name}` in any other"
            if name in {LATEST, STABLE}
            else ""
        )
        raise ModelNotFoundError(f"{location} has no channel {name}: there is no {location.key(name)}{hint}")
    return channel


def move(
    location: S3Location, s3: S3, name: str, release: Release, *, seen: Channel | None, rolled_back: bool = False
) -> Pointer:
    """Move a channel, or create it.

    Args:
        location: The registry.
        s3: The connection.
        name: The channel.
        release: The version to point to. The caller must have checked that it exists.
        seen: The channel as it was read before; None if there was none. The move fails if it has changed since then.
        rolled_back: Whether the move is a rollback: the versions after `release` are marked as rolled back.

    Returns:
        The new pointer; the old one if the channel already points to `release`.

    Raises:
        ChannelMovedError: Another process has moved the channel since it was read.
        ModelError: The name is not valid, or a model has it.
        UnavailableError: S3 did not answer; the channel may or may not have been moved.
        RejectedError: S3 rejected the call, or does not support conditional writes.
    """
    check_channel_name(name)
    if seen is not None and seen.pointer.release == release:
        return seen.pointer
    if seen is None and next(s3.list(location.bucket, f"{location.key(name)}/"), None) is not None:
        raise ModelError(f"{location}: {name} is the name of a model, so a channel cannot have it")
    s3.require_conditional_writes(location.bucket, location.key(PROBE))
    pointer = _next_pointer(release, seen, rolled_back=rolled_back)
    key, body = location.key(name), _encode(pointer)
    written = s3.put(location.bucket, key, body, if_absent=seen is None, if_match=None if seen is None else seen.etag)
    if not written:
        now = read_channel(location, s3, name)
        # If the answer was lost, the client sent the write again, and the condition failed because of the first write.
        if now is None or now.pointer != pointer:
            raise ChannelMovedError(_moved_meanwhile(name, now))
    return pointer


def create(location: S3Location, s3: S3, name: str, release: Release) -> bool:
    """Create a channel unless it exists. Of several concurrent callers one creates it.

    Returns:
        Whether this call created the channel.

    Raises:
        UnavailableError: S3 did not answer.
        RejectedError: S3 rejected the call, or does not support conditional writes.
    """
    s3.require_conditional_writes(location.bucket, location.key(PROBE))
    pointer = _next_pointer(release, None, rolled_back=False)
    return s3.put(location.bucket, location.key(name), _encode(pointer), if_absent=True)


def _next_pointer(release: Release, seen: Channel | None, *, rolled_back: bool) -> Pointer:
    history: tuple[ChannelEntry, ...] = ()
    if seen is not None:
        history = (ChannelEntry.model_validate(seen.pointer.model_dump(exclude={"history"})), *seen.pointer.history)
        if rolled_back:
            after = next((i for i, position in enumerate(history) if position.release == release), len(history))
            withdrawn = (position.model_copy(update={"withdrawn": True}) for position in history[:after])
            history = (*withdrawn, *history[after:])
        history = history[:HISTORY_LIMIT]
    return Pointer(
        name=release.name, version=release.version, moved_at=datetime.now(UTC), moved_by=_me(), history=history
    )


def _encode(pointer: Pointer) -> bytes:
    return (pointer.model_dump_json(exclude_defaults=True) + "\n").encode()


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"[:200]


def _moved_meanwhile(name: str, now: Channel | None) -> str:
    if now is None:
        return f"the channel {name} was removed meanwhile; nothing was changed, try again"
    by = f" by {now.pointer.moved_by}" if now.pointer.moved_by else ""
    return f"the channel {name} was moved meanwhile{by} to {now.pointer.release}; nothing was changed, try again"
