"""Byte streams: what reading of lines needs of a file, and two wrappers."""

from __future__ import annotations

from typing import Protocol


class ByteStream(Protocol):
    """The methods of a binary file that reading needs."""

    def read1(self, size: int, /) -> bytes:
        """Returns up to `size` bytes as soon as there are any; no bytes at the end."""
        ...

    def fileno(self) -> int:
        """Returns the file descriptor; raises OSError if there is none."""
        ...


class CountedStream:
    """A stream that counts what is read from another one.

    Attributes:
        position: bytes read so far.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.position = 0
        self._stream = stream

    def read1(self, size: int, /) -> bytes:
        """Returns up to `size` bytes."""
        data = self._stream.read1(size)
        self.position += len(data)
        return data

    def fileno(self) -> int:
        """Returns the file descriptor of the other stream."""
        return self._stream.fileno()


class PeekedStream:
    """A stream whose first bytes were read already, in order to recognise what it is."""

    def __init__(self, first: bytes, stream: ByteStream) -> None:
        self._first = first
        self._stream = stream

    def read1(self, size: int = -1, /) -> bytes:
        """Returns up to `size` bytes, the first ones first."""
        if not self._first:
            return self._stream.read1(size)
        data = self._first if size < 0 else self._first[:size]
        self._first = self._first[len(data) :]
        return data

    read = read1  # The decompressors of the standard library read with `read`, and take short reads.

    def fileno(self) -> int:
        """Returns the file descriptor of the other stream."""
        return self._stream.fileno()


def peek(stream: ByteStream, marks: tuple[bytes, ...], size: int) -> tuple[bytes, PeekedStream]:
    """Returns the first bytes of a stream, and the stream with these bytes.

    It reads once, and again only while what was read may be the beginning of a mark. So it does not wait for a slow
    pipe without need.

    Args:
        stream: the stream, at its beginning.
        marks: bytes with which streams of known kinds begin.
        size: the most bytes to read at a time.
    """
    first = stream.read1(size)
    while any(len(first) < len(mark) and mark.startswith(first) for mark in marks) and (more := stream.read1(size)):
        first += more
    return first, PeekedStream(first, stream)
