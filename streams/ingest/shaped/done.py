"""Which files were read: the cursor of a folder and of a prefix in S3. Pure.

Files are read in the order of their names. The cursor remembers the last `MOST_FILES` of them by name, so that files
may also come in another order. If there are more, the first ones by name are forgotten. From then on a file whose name
is not behind theirs counts as read. So a folder with at most `MOST_FILES` files has no limit of this kind.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from connectors.errors import RejectedError

MOST_FILES: Final = 1_000
"""Files that are remembered."""

MOST_CHARS: Final = 100_000
"""Characters of names and stamps that are remembered. A cursor is stored every second while posts come."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that is complete.

    Attributes:
        name: its name below the folder or the prefix.
        stamp: changes if the content does: size and time, or an ETag.
        modified: when it was written, in seconds since 1970.
        size: its bytes.
    """

    name: str
    stamp: str
    modified: float
    size: int

    @property
    def shown(self) -> str:
        """The name in messages and ids. Bytes that are not UTF-8, which Python keeps as surrogates, are escaped."""
        return shown(self.name)


def shown(name: str) -> str:
    """Returns a name with escapes for its bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Part(NamedTuple):
    """A file of which some rows were read."""

    name: str
    stamp: str
    rows: int


class Status(Enum):
    """Whether a file is to be read."""

    NEW = auto()
    DONE = auto()
    CHANGED = auto()
    """It was read, and has another content now."""

    LATE = auto()
    """Its name is before those that are remembered. It came or changed after the last of them that were forgotten."""


class DoneFiles:
    """The files that were read.

    Attributes:
        below: a file counts as read if its name is not behind this one, and is not remembered.
        part: the file that is being read; None between two files.
    """

    def __init__(
        self,
        known: Mapping[str, tuple[str, float]] | None = None,
        *,
        below: str = "",
        newest: float = 0.0,
        part: Part | None = None,
        most: int = MOST_FILES,
    ) -> None:
        """Begin with files that were read.

        Args:
            known: the stamp of each that is remembered, and when it was written.
            below: see the attribute.
            newest: when the newest file was written that was read and is forgotten.
            part: see the attribute.
            most: the most files that are remembered.
        """
        self.below = below
        self.part = part
        self._most = most
        self._newest = newest
        self._newest_late = newest
        self._known = dict(known or {})
        self._names = sorted(self._known)
        self._chars = sum(len(name) + len(stamp) for name, (stamp, _) in self._known.items())
        self._head: str | None = None

    def __len__(self) -> int:
        """The number of files that are remembered."""
        return len(self._known)

    def status(self, file: FoundFile) -> Status:
        """Returns what is to be done with a file."""
        if (known := self._known.get(file.name)) is not None:
            return Status.DONE if known[0] == file.stamp else Status.CHANGED
        if self.below and file.name <= self.below:
            return Status.LATE if file.modified > self._newest else Status.DONE
        return Status.NEW

    def finish(self, file: FoundFile) -> None:
        """Note that a file was read, or that it is not read: it counts as done with this stamp."""
        self.part = None
        self._head = None
        if self.below and file.name <= self.below and file.name not in self._known:
            self._newest_late = max(self._newest_late, file.modified)
            return
        if (former := self._known.get(file.name)) is None:
            bisect.insort(self._names, file.name)
        else:
            self._chars -= len(file.name) + len(former[0])
        self._known[file.name] = (file.stamp, file.modified)
        self._chars += len(file.name) + len(file.stamp)
        while len(self._names) > self._most or self._chars > MOST_CHARS:
            self.below = self._names.pop(0)
            stamp, modified = self._known.pop(self.below)
            self._newest = max(self._newest, modified)
            self._chars -= len(self.below) + len(stamp)

    def end_look(self) -> None:
        """Note that every file was looked at. Those that were late count as done from now on.

        Not earlier, because a late file is known by its time only: one would hide another that is as old or older.
        """
        if self._newest_late > self._newest:
            self._newest = self._newest_late
            self._head = None

    def advance(self, file: FoundFile, rows: int) -> str:
        """Note how many rows of a file were read, and return the cursor."""
        self.part = Part(file.name, file.stamp, rows)
        return self.text

    @property
    def text(self) -> str:
        """The cursor."""
        if self._head is None:
            known = {name: [stamp, modified] for name, (stamp, modified) in self._known.items()}
            found = {"v": _VERSION, "below": self.below, "newest": self._newest, "known": known}
            self._head = json.dumps(found, separators=(",", ":")).removesuffix("}")
        if self.part is None:
            return f"{self._head}}}"
        name, stamp, rows = self.part
        return f'{self._head},"part":[{json.dumps(name)},{json.dumps(stamp)},{rows}]}}'


def read_cursor(cursor: str) -> DoneFiles:
    """Returns the files that a cursor remembers.

    Raises:
        RejectedError: The text is no cursor of files.
    """
    try:
        found: Any = json.loads(cursor)
        if found["v"] != _VERSION:
            raise RejectedError(f"the cursor of files has version {found['v']!r}; this program reads {_VERSION}")
        part = found.get("part")
        return DoneFiles(
            {_text(name): (_text(stamp), float(modified)) for name, (stamp, modified) in found["known"].items()},
            below=_text(found["below"]),
            newest=float(found["newest"]),
            part=None if part is None else Part(_text(part[0]), _text(part[1]), int(part[2])),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
        raise RejectedError("the cursor is not one of files") from exc


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("is no text")
    return value
