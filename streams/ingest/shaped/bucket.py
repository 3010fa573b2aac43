"""The objects below a prefix in S3. They appear as a whole, so each is complete."""

from __future__ import annotations

import errno
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from connectors.errors import RejectedError, UnavailableError
from connectors.s3.reader import FoundObject, ObjectReader
from streams.errors import InputError
from streams.ingest.shaped.done import FoundFile
from streams.ingest.shaped.folder import UNFINISHED
from streams.ingest.shaped.new_files import OtherFileError, Page

MAX_OBJECT_BYTES: Final = 5 * 2**30
"""The largest object. It is downloaded into a temporary file before it is read."""

FULL_LISTING_S: Final = 3_600.0
"""Seconds between two listings from the first key on, which find objects whose keys come too late in the order."""

_URI: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_LONGEST_KEY: Final = 1_024
_LONGEST_SUFFIX: Final = 10


class Prefix(NamedTuple):
    """A bucket, and the beginning of the keys."""

    bucket: str
    prefix: str


def parse_prefix(uri: str) -> Prefix:
    """Returns the place of an address `s3://bucket/prefix/`.

    Raises:
        InputError: It is no such address.
    """
    parts = _URI.fullmatch(uri)
    if parts is None or len(parts[2] or "") > _LONGEST_KEY:
        raise InputError(f"{uri!r} is not an address such as s3://bucket/prefix/")
    return Prefix(parts[1], parts[2] or "")


class BucketStore:
    """A prefix. The name of an object is its key behind the prefix."""

    def __init__(
        self,
        place: Prefix,
        reader: ObjectReader,
        *,
        pattern: str = "*",
        max_bytes: int = MAX_OBJECT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to look; nothing is sent.

        Args:
            place: the bucket and the prefix.
            reader: the server. It is closed with the store.
            pattern: which names are read; `*` stands for any characters, also for `/`.
            max_bytes: the largest object.
            clock: seconds of a clock that never goes back.
        """
        self._bucket, self._prefix = place
        self._pattern = pattern
        self._max_bytes = max_bytes
        self._clock = clock
        self._full_at: float | None = None
        self._reader = reader
        self._interrupted = threading.Event()

    def begin(self, below: str) -> str:
        """Returns `below`, and once an hour an empty name. See `FileStore.begin`."""
        now = self._clock()
        if self._full_at is not None and now - self._full_at < FULL_LISTING_S:
            return below
        self._full_at = now
        return ""

    def page(self, after: str, *, first: bool = False) -> Page:
        """Returns the objects of one answer behind `after`. See `FileStore.page`."""
        del first  # every object is complete
        found, more = self._reader.page(self._bucket, self._prefix, f"{self._prefix}{after}" if after else "")
        files = [self._file(one) for one in found]
        wanted = [file for file in files if self._is_wanted(file.name)]
        return Page(wanted, files[-1].name if more and files else None)

    def find(self, name: str) -> FoundFile | None:
        """Returns an object as it is now; None if there is none. See `FileStore.find`."""
        found = self._reader.find(self._bucket, self._prefix + name)
        return None if found is None else self._file(found)

    @contextmanager
    def local(self, file: FoundFile) -> Iterator[Path]:
        """Download an object, and yield the file, which is removed at the end. See `FileStore.local`."""
        if file.size > self._max_bytes:
            raise InputError(f"{file.shown} has {file.size:,} bytes; {self._max_bytes:,} are allowed")
        with _temporary_folder(file) as folder:
            path = Path(folder) / f"object{_suffixes(file.name)}"
            try:
                is_same = self._reader.fetch(
                    self._bucket, self._prefix + file.name, file.stamp, path, stopped=self._interrupted.is_set
                )
            except RejectedError as exc:
                raise PermissionError(errno.EACCES, str(exc)) from exc
            except OSError as exc:
                raise _cannot_be_stored(file, exc) from exc
            if not is_same:
                raise OtherFileError
            yield path

    def interrupt(self) -> None:
        """End a download. See `FileStore.interrupt`."""
        self._interrupted.set()

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()

    def _file(self, found: FoundObject) -> FoundFile:
        return FoundFile(found.key.removeprefix(self._prefix), found.etag, found.modified.timestamp(), found.size)

    def _is_wanted(self, name: str) -> bool:
        last = name.rpartition("/")[2]
        is_finished = last != "" and not last.startswith(".") and not last.endswith(UNFINISHED)
        return is_finished and fnmatchcase(name, self._pattern)


def _temporary_folder(file: FoundFile) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="emostream-s3-")
    except OSError as exc:
        raise _cannot_be_stored(file, exc) from exc


def _cannot_be_stored(file: FoundFile, exc: OSError) -> UnavailableError:
    return UnavailableError(f"{file.shown} cannot be stored in a temporary folder: {exc.strerror or exc}")


def _suffixes(name: str) -> str:
    """Returns the suffixes that tell the format and the compression. The rest of a key may be no name of a file."""
    last = [suffix for suffix in PurePosixPath(name).suffixes[-2:] if suffix[1:].isalnum()]
    return "".join(suffix for suffix in last if len(suffix) <= _LONGEST_SUFFIX)
