"""Channels of a registry: names that point to one version, and are moved in one write.

    s3://bucket/prefix/stable      {"name": …, "version": …, "moved_at": …, "moved_by": …, "history": […]}

A move is a compare-and-set: it names, by its ETag, the pointer that it replaces (`If-Match`; `If-None-Match: *` for a
new channel), and the server decides. Of two movers one succeeds, and the other is told.
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
"""Earlier positions kept in a pointer: enough to go back, and a poll stays one packet or two."""

# What the conditional writes are tried on; no channel can have this name.
PROBE: Final = ".conditional-writes"

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_MAX_NAME: Final = 50


class Release(NamedTuple):
    """One version of one model."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class ChannelEntry(BaseModel):
    """Where a channel points or pointed to. Fields of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: PackageName
    version: PackageVersion
    moved_at: AwareDatetime | None = Field(default=None, description="When the channel came here.")
    moved_by: str | None = Field(default=None, max_length=200, description="Who moved it here, as user@host.")
    withdrawn: bool = Field(default=False, description="A rollback left this position; no rollback returns to it.")

    @property
    def release(self) -> Release:
        """The version."""
        return Release(self.name, self.version)


class Pointer(ChannelEntry):
    """The content of a pointer object: the present position, and the earlier ones, latest first."""

    history: Annotated[tuple[ChannelEntry, ...], Field(max_length=1_000)] = ()

    def back(self) -> Release | None:
        """Where a rollback leads: the latest earlier version that was not itself rolled back since; None if none."""
        passed = {self.release}
        for position in self.history:
            if not position.withdrawn and position.release not in passed:
                return position.release
            passed.add(position.release)
        return None


@dataclass(frozen=True)
class Channel:
    """A channel as it was when it was read."""

    name: str
    pointer: Pointer
    etag: str


def is_channel_name(name: str) -> bool:
    """Whether a channel may have this name."""
    return len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def check_channel_name(name: str) -> None:
    """Raise unless a channel may have this name.

    Raises:
        ModelError: with what a name is made of.
    """
    if not is_channel_name(name):
        raise ModelError(
            f"{name!r} cannot be a channel: give at most {_MAX_NAME} lower-case letters, digits and -, a letter first"
        )


def read_channel(location: S3Location, s3: S3, name: str) -> Channel | None:
    """Read where a channel points to; None where there is no such channel.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: The pointer is malformed.
        ModelError: No channel can have this name.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    check_channel_name(name)
    stored = read_object(location, s3, location.key(name))
    if stored is None:
        return None
    try:
        return Channel(name, Pointer.model_validate_json(stored.body), stored.etag)
    except ValidationError as exc:
        raise ModelPackageError(f"{location}/{name} is malformed: it names no model and version") from exc


def require_channel(location: S3Location, s3: S3, name: str) -> Channel:
    """Read a channel that must be there.

    Raises:
        ModelNotFoundError: It is not.
        ModelError, UnavailableError, RejectedError: As `read_channel`.
    """
    channel = read_channel(location, s3, name)
    if channel is None:
        hint = "; `emostream init` makes it" if name in {LATEST, STABLE} else ""
        raise ModelNotFoundError(f"{location} has no channel {name}: there is no {location.key(name)}{hint}")
    return channel


def move(
    location: S3Location, s3: S3, name: str, release: Release, *, seen: Channel | None, withdraw: bool = False
) -> Pointer:
    """Move a channel, or make it.

    Args:
        location: The registry.
        s3: The connection.
        name: The channel.
        release: Where to; whether that version is there is the caller's business.
        seen: The channel as it was read before; None where there was none. It must still be like that.
        withdraw: It is a rollback: mark what came after `release` as positions that no rollback returns to.

    Returns:
        What the channel says now; unchanged if it pointed there already.

    Raises:
        ChannelMovedError: Someone else moved it meanwhile.
        ModelError: A model has this name, or no channel can have it.
        UnavailableError: S3 did not answer; the channel may or may not have been moved.
        RejectedError: S3 refused, or does not do conditional writes.
    """
    check_channel_name(name)
    if seen is not None and seen.pointer.release == release:
        return seen.pointer
    if seen is None and next(s3.list(location.bucket, f"{location.key(name)}/"), None) is not None:
        raise ModelError(f"{location}: {name} is the name of a model, and so cannot be that of a channel")
    s3.require_conditional_writes(location.bucket, location.key(PROBE))
    pointer = _next_pointer(release, seen, withdraw=withdraw)
    key, body = location.key(name), _encode(pointer)
    written = s3.put(location.bucket, key, body, if_absent=seen is None, if_match=None if seen is None else seen.etag)
    if not written:
        now = read_channel(location, s3, name)
        # The condition also fails for a write that had succeeded, and whose answer was lost.
        if now is None or now.pointer != pointer:
            raise ChannelMovedError(_moved_meanwhile(name, now))
    return pointer


def create(location: S3Location, s3: S3, name: str, release: Release) -> bool:
    """Make a channel unless it is there; of several callers one makes it.

    Returns:
        Whether this call did.

    Raises:
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused, or does not do conditional writes.
    """
    s3.require_conditional_writes(location.bucket, location.key(PROBE))
    pointer = _next_pointer(release, None, withdraw=False)
    return s3.put(location.bucket, location.key(name), _encode(pointer), if_absent=True)


def _next_pointer(release: Release, seen: Channel | None, *, withdraw: bool) -> Pointer:
    history: tuple[ChannelEntry, ...] = ()
    if seen is not None:
        history = (ChannelEntry.model_validate(seen.pointer.model_dump(exclude={"history"})), *seen.pointer.history)
        if withdraw:
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
    except (KeyError, OSError):  # a container's user need not have a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"[:200]


def _moved_meanwhile(name: str, now: Channel | None) -> str:
    if now is None:
        return f"the channel {name} was removed meanwhile; look again"
    by = f" by {now.pointer.moved_by}" if now.pointer.moved_by else ""
    return f"the channel {name} was moved meanwhile{by} to {now.pointer.release}; nothing was changed, look again"
