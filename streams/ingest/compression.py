"""Decompresses inputs while they are read: gzip, bzip2 and Zstandard.

What is in memory is bounded, whatever the input decompresses to. A Zstandard input needs as much memory as its window,
which is 2 GiB in dumps of Reddit, and 8 MB usually.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from typing import Any, Final, cast

import zstandard

from streams.errors import InputError
from streams.ingest.streams import ByteStream, PeekedStream, peek

_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = tuple(
    b"BZh%d" % level + block for level in range(1, 10) for block in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
)
"""The first bytes of bzip2: the level, and the mark of a block or of the end. Texts may begin with `BZh` too."""
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES: Final = 64 * 1024

SUFFIXES: Final = (".gz", ".bz2", ".zst", ".zstd")
"""Suffixes of compressed files; the suffix before it tells the format."""

MAX_ZSTD_WINDOW: Final = 2**31
"""The largest window, in bytes, of a Zstandard input: that of `zstd --long=31`."""

_ZSTD_PIECE_BYTES: Final = 256
"""Compressed bytes that are decompressed at a time. They become 8 MB at most, because a block has four bytes or more
and becomes 128 KiB."""


def decompressed(stream: ByteStream, name: str) -> ByteStream:
    """Returns a stream of what a stream decompresses to; the same bytes if it is not compressed.

    The first bytes decide, and not the name. Files that were compressed one by one and then joined are read to the end.

    Args:
        stream: the stream, at its beginning.
        name: the name of the input in messages.

    Raises:
        InputError: Reading the result: it is damaged, or ends too early.
    """
    first, peeked = peek(stream, (_GZIP, *_BZIP2, _ZSTD), _CHUNK_BYTES)
    if first.startswith(_GZIP):
        return _Decompressed(gzip.GzipFile(fileobj=cast(Any, peeked), mode="rb"), peeked, name)
    if first.startswith(_BZIP2):
        return _Decompressed(bz2.BZ2File(cast(Any, peeked), "rb"), peeked, name)
    if first.startswith(_ZSTD):
        return _Decompressed(_ZstdStream(peeked), peeked, name)
    return peeked


class _Decompressed:
    """A stream whose errors are those of an input."""

    def __init__(self, stream: object, source: PeekedStream, name: str) -> None:
        self._stream = cast(ByteStream, stream)
        self._source = source
        self._name = name

    def read1(self, size: int, /) -> bytes:
        try:
            return self._stream.read1(size)
        except EOFError:
            raise InputError(f"{self._name} ends too early; it was not compressed or copied completely") from None
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, OSError) as exc:
            raise InputError(f"{self._name} cannot be decompressed: {exc}") from exc

    def fileno(self) -> int:
        return self._source.fileno()


class _ZstdStream:
    """Reads Zstandard frames, one after the other."""

    def __init__(self, source: PeekedStream) -> None:
        self._source = source
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        self._frame = self._decompressor.decompressobj()
        self._compressed = b""
        self._ready = b""
        self._begun = False

    def read1(self, size: int, /) -> bytes:
        while not self._ready:
            if not self._compressed and not (compressed := self._source.read1(_CHUNK_BYTES)):
                if self._begun:
                    raise EOFError
                return b""
            self._compressed = self._compressed or compressed
            self._decompress()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _decompress(self) -> None:
        piece, self._compressed = self._compressed[:_ZSTD_PIECE_BYTES], self._compressed[_ZSTD_PIECE_BYTES:]
        self._begun = True
        self._ready = self._frame.decompress(piece)
        if self._frame.eof:
            self._compressed = self._frame.unused_data + self._compressed
            self._frame = self._decompressor.decompressobj()
            self._begun = False
