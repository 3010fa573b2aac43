"""Compressed and encoded inputs are read back unchanged, for all contents and sizes of pieces."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import assume, example, given
from hypothesis import strategies as st

from streams.errors import InputError
from streams.ingest.compression import decompressed
from streams.ingest.encodings import utf8
from streams.ingest.streams import ByteStream

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.compress,
}
PARTS = st.lists(st.binary(max_size=300), min_size=1, max_size=4)
SIZE = st.integers(1, 64)


class Pieces(io.BytesIO):
    """A stream that returns at most `size` bytes from a read."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(self._size, size) if size is not None and size >= 0 else self._size)


def all_of(stream: ByteStream, size: int) -> bytes:
    return b"".join(iter(lambda: stream.read1(size), b""))


@given(PARTS, st.sampled_from(sorted(COMPRESS)), SIZE, SIZE)
def test_what_was_compressed_part_by_part_is_read_as_a_whole(
    parts: list[bytes], kind: str, piece: int, size: int
) -> None:
    content = b"".join(map(COMPRESS[kind], parts))
    assert all_of(decompressed(Pieces(content, piece), "a"), size) == b"".join(parts)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(sorted(COMPRESS)), st.integers(1, 40), SIZE)
def test_what_is_cut_off_is_never_read_as_complete(content: bytes, kind: str, missing: int, piece: int) -> None:
    whole = COMPRESS[kind](content)
    short = whole[: max(len(whole) - missing, 12)]
    if short == whole:
        return
    with pytest.raises(InputError):
        all_of(decompressed(Pieces(short, piece), "a"), 1_000)


@given(st.binary(max_size=100), SIZE)
def test_what_is_not_compressed_is_unchanged_or_an_error(content: bytes, piece: int) -> None:
    try:
        found = all_of(decompressed(Pieces(content, piece), "a"), 1_000)
    except InputError:
        assert content.startswith((b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"))
    else:
        assert found == content


@given(st.text(max_size=60), st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "utf-8"]), SIZE)
@example("\0a", "utf-16", 64)
def test_a_text_in_a_given_encoding_is_read_as_utf8(text: str, encoding: str, piece: int) -> None:
    found = all_of(utf8(Pieces(text.encode(encoding), piece), encoding, "a"), 1_000)
    assert found.decode() == text


@given(st.text(min_size=1, max_size=60), st.sampled_from(["utf-16", "utf-32"]), SIZE)
def test_a_byte_order_mark_tells_the_encoding(text: str, encoding: str, piece: int) -> None:
    # The mark of UTF-16 and U+0000 after it are the mark of UTF-32.
    assume(encoding != "utf-16" or not text.startswith("\0"))
    assert all_of(utf8(Pieces(text.encode(encoding), piece), None, "a"), 1_000).decode() == text


@given(st.binary(max_size=60), st.sampled_from(["cp1252", "shift_jis", "utf-16", "utf-8", "latin-1"]), SIZE)
def test_any_bytes_can_be_read_in_any_encoding(content: bytes, encoding: str, piece: int) -> None:
    try:
        stream = utf8(Pieces(content, piece), encoding, "a")
    except InputError:
        assert encoding == "utf-16"
    else:
        all_of(stream, 1_000)
