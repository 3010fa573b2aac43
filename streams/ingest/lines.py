"""Reads numbered lines of bounded length from a file or standard input, with one chunk in memory at a time."""

from __future__ import annotations

import select
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from streams.errors import InputError
from streams.ingest.compression import decompressed
from streams.ingest.encodings import utf8
from streams.ingest.streams import ByteStream, CountedStream

STDIN = "-"
"""The name of an input that stands for standard input."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is refused and not kept in memory. The longest text that the settings allow has 2.4 MB if JSON escapes
every character."""

_CHUNK_BYTES = 64 * 1024
_UTF8_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its LF. `data` is None if the line is longer than `MAX_LINE_BYTES`."""

    number: int
    data: bytes | None


class LineReader:
    """Iterates once over the lines of a stream. Only LF ends a line; a byte order mark is removed.

    Attributes:
        name: the name of the input in messages.
    """

    def __init__(
        self, stream: ByteStream, *, name: str, raw: CountedStream | None = None, otherwise: str | None = None
    ) -> None:
        """Create a reader.

        Args:
            stream: the text in UTF-8, at its beginning.
            name: the name of the input in messages.
            raw: the stream from which `stream` is decompressed or decoded; None if it is read as it is.
            otherwise: the encoding of lines that are not UTF-8; None to leave them as they are.
        """
        self.name = name
        self._raw = raw
        self._otherwise = otherwise
        self._position = 0
        self._number = 0
        self._stream = stream
        self._ready: deque[bytes] = deque()
        self._lines = self._read()

    @property
    def position(self) -> int:
        """Bytes of the input that were read so far; without `raw`, those of the lines that were yielded."""
        return self._raw.position if self._raw is not None else self._position

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

    def chunks(self) -> Iterator[bytes]:
        """Yield the input in pieces, without dividing it into lines. To be used instead of iterating over lines."""
        while chunk := self._chunk():
            yield chunk

    def _read(self) -> Iterator[Line]:
        rest = b""
        while chunk := self._chunk():
            if len(rest) > MAX_LINE_BYTES and b"\n" not in chunk:
                self._position += len(chunk)
                continue
            *complete, rest = (rest + chunk).split(b"\n")
            self._ready.extend(complete)
            while self._ready:
                line = self._ready.popleft()
                self._position += 1
                yield self._line(line)
            # One byte above the limit is kept. It marks the line as too long, and the bytes after it are dropped.
            excess = len(rest) - (MAX_LINE_BYTES + 1)
            if excess > 0:
                self._position += excess
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
        self._position += len(data)
        if self._number == 1:
            data = data.removeprefix(_UTF8_BOM)
        if self._otherwise is not None and not _is_utf8(data):
            data = data.decode(self._otherwise).encode()
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
def open_lines(source: str, *, encoding: str | None = None, otherwise: str | None = None) -> Iterator[LineReader]:
    """Open a file, or standard input if `source` is `-`, and yield a reader of its lines. Closes the file at the end.

    Compressed inputs are decompressed, and other encodings than UTF-8 are decoded.

    Args:
        source: the file's path, or `-`.
        encoding: the encoding; None to recognise it.
        otherwise: the encoding of lines that are not UTF-8; None to leave them as they are. It has one byte for each
            character.

    Raises:
        InputError: The file does not exist, cannot be opened or decompressed, or is a folder.
    """
    if source == STDIN:
        # Standard input stays open. Its declared type lacks read1, which every buffered reader has.
        yield _reader(cast(ByteStream, sys.stdin.buffer), name_of(source), encoding, otherwise)
        return
    size_of(source)
    with _input_errors(source):
        stream = Path(source).open("rb")  # noqa: SIM115 - closed below; only the errors of opening are mapped
    with stream:
        yield _reader(stream, source, encoding, otherwise)


def _reader(stream: ByteStream, name: str, encoding: str | None, otherwise: str | None) -> LineReader:
    raw = CountedStream(stream)
    try:
        plain = decompressed(raw, name)
        return LineReader(utf8(plain, encoding, name), name=name, raw=raw, otherwise=otherwise)
    except OSError as exc:
        raise InputError(f"{name} cannot be read: {exc.strerror or exc}") from exc


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def _input_errors(source: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except OSError as exc:
        raise InputError(f"{source} cannot be opened: {exc.strerror or exc}") from exc
