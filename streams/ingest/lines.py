"""Lines of bytes from a file or standard input, numbered, bounded in length, one chunk in memory at a time."""

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
MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is refused unread. The longest text a setting allows, all of it escaped as JSON, takes 2.4 MB."""

_CHUNK_BYTES = 64 * 1024
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class ByteStream(Protocol):
    """What is needed of a binary file."""

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as there are any; none at the end."""
        ...

    def fileno(self) -> int:
        """The file descriptor; OSError where there is none."""
        ...


class Line(NamedTuple):
    """A line without its LF. `data` is None where the line is longer than `MAX_LINE_BYTES`."""

    number: int
    data: bytes | None


class LineReader:
    """Iterates over the lines of a stream, once. Only LF ends a line; a byte order mark is taken off.

    Attributes:
        name: what to call the input in messages.
        position: bytes of the lines handed out so far.
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
        """Whether the next line is not there yet, as with a pipe or a terminal whose writer is slow.

        A consumer that collects batches hands over what it has when this is true.
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
            *whole, rest = (rest + chunk).split(b"\n")
            self._ready.extend(whole)
            while self._ready:
                line = self._ready.popleft()
                self.position += 1
                yield self._line(line)
            # One byte over the limit marks the line as too long, however much of it still comes.
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
    """Bytes in a file; None for standard input, a pipe or a device.

    Raises:
        InputError: if there is no such file, or it is a folder.
    """
    if source == STDIN:
        return None
    with _mapped(source):
        status = Path(source).stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{source} is a folder; give a file, or - for standard input")
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def open_lines(source: str) -> Iterator[LineReader]:
    """Open a file, or standard input where `source` is `-`.

    Raises:
        InputError: if it cannot be opened.
    """
    if source == STDIN:
        # Not ours to close. Its declared type lacks read1, which every buffered reader has.
        yield LineReader(cast(ByteStream, sys.stdin.buffer), name=name_of(source))
        return
    size_of(source)
    with _mapped(source):
        stream = Path(source).open("rb")  # noqa: SIM115 - closed below; only the opening is mapped
    with stream:
        yield LineReader(stream, name=source)


@contextmanager
def _mapped(source: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except OSError as exc:
        raise InputError(f"{source} cannot be opened: {exc.strerror or exc}") from exc
