"""The files of a folder: those that are complete, found by looking again and again."""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from connectors.errors import RejectedError, UnavailableError
from connectors.repeats import Repeats
from streams.errors import InputError
from streams.ingest.shaped.done import FoundFile
from streams.ingest.shaped.new_files import OtherFileError, Page

logger = logging.getLogger(__name__)

MOST_FILES_OF_A_FOLDER: Final = 100_000
"""Files that fit the pattern. With more, each look would take seconds."""

UNFINISHED: Final = (".tmp", ".part")
"""Names that end so are not read, and neither are those that begin with a dot."""


class FolderStore:
    """A folder. Nothing tells when a file is complete, so it counts as complete when it has not changed for a while."""

    def __init__(
        self,
        folder: Path,
        *,
        pattern: str = "*",
        settle_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare to look; nothing is read.

        Args:
            folder: the folder.
            pattern: which files below it are read; see `checked_pattern`.
            settle_s: seconds for which size and time of a complete file have not changed.
            clock: seconds of a clock that never goes back.
            wall_clock: seconds since 1970.
        """
        self._folder = folder
        self._pattern = pattern
        self._settle_s = settle_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._seen: dict[str, tuple[str, float]] = {}
        self._repeats = Repeats()

    def begin(self, below: str) -> str:
        """Returns an empty name: a look at a folder costs the same wherever it begins. See `FileStore.begin`."""
        del below
        return ""

    def page(self, after: str, *, first: bool = False) -> Page:
        """Returns the complete files whose names are behind `after`, all of them. See `FileStore.page`."""
        now, wall = self._clock(), self._wall_clock()
        seen: dict[str, tuple[str, float]] = {}
        files = []
        for file in self._all():
            former = self._seen.get(file.name)
            since = former[1] if former is not None and former[0] == file.stamp else now
            seen[file.name] = (file.stamp, since)
            is_complete = wall - file.modified >= self._settle_s if first else now - since >= self._settle_s
            if is_complete and file.name > after:
                files.append(file)
        self._seen = seen
        return Page(sorted(files, key=lambda file: file.name), None)

    def _all(self) -> Iterator[FoundFile]:
        count = 0
        try:
            os.scandir(self._folder).close()  # `glob` finds nothing in a folder that is missing or may not be read
            for path in self._folder.glob(self._pattern):
                name = path.relative_to(self._folder).as_posix()
                if name.endswith(UNFINISHED) or any(part.startswith(".") for part in name.split("/")):
                    continue
                if (file := self.find(name)) is None:
                    continue
                count += 1
                if count > MOST_FILES_OF_A_FOLDER:
                    raise RejectedError(
                        f"{self._folder} has more than {MOST_FILES_OF_A_FOLDER:,} files; move the old ones away"
                    )
                yield file
        except OSError as exc:
            raise UnavailableError(f"the folder {self._folder} cannot be read: {exc.strerror or exc}") from exc

    def find(self, name: str) -> FoundFile | None:
        """Returns a file as it is now; None if it is none. See `FileStore.find`."""
        try:
            found = (self._folder / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            if exc.errno == errno.ELOOP:  # a link to itself is no file, like one that leads nowhere
                return None
            raise UnavailableError(f"{name} cannot be read: {exc.strerror or exc}") from exc
        if not stat.S_ISREG(found.st_mode) or self._leads_out(name):
            return None
        return FoundFile(name, f"{found.st_size}-{found.st_mtime_ns}", found.st_mtime, found.st_size)

    def _leads_out(self, name: str) -> bool:
        """Returns whether a name is a link to elsewhere: whoever may write here could publish any file with it."""
        path = self._folder
        for part in name.split("/"):
            path /= part
            if path.is_symlink() and not path.resolve().is_relative_to(self._folder.resolve()):
                if self._repeats.due(name):
                    logger.warning("%s is not read: it is a link that leads out of %s", name, self._folder)
                return True
        return False

    @contextmanager
    def local(self, file: FoundFile) -> Iterator[Path]:
        """Yield the path of a file. See `FileStore.local`."""
        found = self.find(file.name)
        if found is None or found.stamp != file.stamp:
            raise OtherFileError
        path = self._folder / file.name
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, "it may not be read")
        yield path

    def interrupt(self) -> None:
        """Do nothing: no call takes long."""

    def close(self) -> None:
        """Do nothing: no file stays open."""


def checked_pattern(pattern: str) -> str:
    """Returns a pattern of names below a folder, as for `Path.glob`.

    Raises:
        InputError: It is none, or leads out of the folder.
    """
    parts = Path(pattern).parts
    has_wrong_stars = any("**" in part and part != "**" for part in parts)  # `glob` refuses it before Python 3.13
    if not parts or Path(pattern).is_absolute() or ".." in parts or has_wrong_stars:
        raise InputError(f"{pattern!r} is not a pattern of names below the folder, such as *.jsonl or **/*.csv")
    return pattern
