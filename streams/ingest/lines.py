"""Reads numbered lines of bounded length from a file or standard input, with one chunk in memory at a time."""

from __future__ import annotations

import select
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from streams.errors import InputError

STDIN = "-"
"""The name of an input that stands for standard input."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is refused and not kept in memory. The longest text that the settings allow has 2.4 MB if JSON escapes
every character."""

_CHUNK_BYTES = 64 * 1024
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class ByteStream(Protocol):
    """The methods of a binary file that `LineReader` needs."""

    def read1(self, size: int, /) -> bytes:
        """Returns up to `size` bytes as soon as there are any; no bytes at the end."""
        ...

    def fileno(self) -> int:
        """Returns the file descriptor; raises OSError if there is none."""
        ...


class Line(NamedTuple):
    """A line without its LF. `data` is None if the line is longer than `MAX_LINE_BYTES`."""

    number: int
    data: bytes | None


class LineReader:
    """Iterates once over the lines of a stream. Only LF ends a line; a byte order mark is removed.

    Attributes:
        name: the name of the input in messages.
        position: bytes of the lines that were yielded so far.
    """

    def __init__(self, stream: ByteStream, *, name: str) -> None:
        self.name = name
        self.position = 0
        self._number = 0
        self._stream = stream
        self._ready: deque[bytes] = deque()
        self._lines = self._read()

    def __iter__(self) -> Iterator[Line]:
        return self._lines

    def would_wait(self) -> bool:
        """Returns whether reading the next line would block, as with a pipe whose writer is slow.

        A caller that fills batches can end a batch early if this is true.
        """
        if self._ready:
            return False
        try:
            descriptor = self._stream.fileno()
        except OSError:
            return False
        return not select.select([descriptor], [], [], 0)[0]

    def _read(self) -> Iterator[Line]:
        rest = b""
        first = True
        while chunk := self._chunk():
            if first and chunk.startswith(_UTF16_BOMS):
                raise InputError(f"{self.name} is UTF-16; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)")
            first = False
            *complete, rest = (rest + chunk).split(b"\n")
            self._ready.extend(complete)
            while self._ready:
                line = self._ready.popleft()
                self.position += 1
                yield self._line(line)
            # One byte above the limit is kept. It marks the line as too long, and the bytes after it are dropped.
            excess = len(rest) - (MAX_LINE_BYTES + 1)
            if excess > 0:
                self.position += excess
                rest = rest[:-excess]
        if rest:
            yield self._line(rest)

    def _chunk(self) -> bytes:
        try:
            return self._stream.read1(_CHUNK_BYTES)
        except OSError as exc:
            raise InputError(f"{self.name} cannot be read: {exc.strerror or exc}") from exc

    def _line(self, data: bytes) -> Line:
        self._number += 1
        self.position += len(data)
        if self._number == 1:
            data = data.removeprefix(_UTF8_BOM)
        return Line(self._number, data if len(data) <= MAX_LINE_BYTES else None)


def name_of(source: str) -> str:
    """Returns the name of an input in messages: `stdin` for `-`, else the path."""
    return "stdin" if source == STDIN else source


def size_of(source: str) -> int | None:
    """Returns the bytes in a file; None for standard input, a pipe or a device.

    Raises:
        InputError: The file does not exist, cannot be opened, or is a folder.
    """
    if source == STDIN:
        return None
    with _input_errors(source):
        status = Path(source).stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{source} is a folder; give a file, or - for standard input")
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def open_lines(source: str) -> Iterator[LineReader]:
    """Open a file, or standard input if `source` is `-`, and yield a reader of its lines. Closes the file at the end.

    Raises:
        InputError: The file does not exist, cannot be opened, or is a folder.
    """
    if source == STDIN:
        # Standard input stays open. Its declared type lacks read1, which every buffered reader has.
        yield LineReader(cast(ByteStream, sys.stdin.buffer), name=name_of(source))
        return
    size_of(source)
    with _input_errors(source):
        stream = Path(source).open("rb")  # noqa: SIM115 - closed below; only the errors of opening are mapped
    with stream:
        yield LineReader(stream, name=source)


@contextmanager
def _input_errors(source: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except OSError as exc:
        raise InputError(f"{source} cannot be opened: {exc.strerror or exc}") from exc
