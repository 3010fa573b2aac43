"""Compressed files, and files in other encodings than UTF-8."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from streams.errors import InputError
from streams.ingest.rows import Refusal
from tests.input_support import posts_of, rows_of, texts

LINE = b'{"text":"lovely day","keywords":["sun"]}\n'


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstandard.compress), ("", gzip.compress)],
)
def test_compressed_files(tmp_path: Path, suffix: str, compress: Any) -> None:
    (post,), _ = posts_of(tmp_path / f"posts.jsonl{suffix}", compress(LINE))
    assert (post.text, post.keywords) == ("lovely day", ("sun",))
    # Files that were compressed one by one and then joined.
    posts, _ = posts_of(tmp_path / f"posts.jsonl{suffix}", compress(LINE) + compress(b"") + compress(LINE * 10_000))
    assert len(posts) == 10_001


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, zstandard.compress])
def test_damaged_and_cut_files_are_errors(tmp_path: Path, compress: Any) -> None:
    content = compress(b"".join(b'{"text": "post %d"}\n' % number for number in range(10_000)))
    file = tmp_path / "posts.jsonl"
    file.write_bytes(content[:-20])
    with pytest.raises(InputError, match="ends too early"):
        rows_of(file)
    file.write_bytes(content[:1_000] + bytes(100) + content[1_100:])
    with pytest.raises(InputError, match=r"cannot be decompressed|ends too early"):
        rows_of(file)


def test_a_decompression_bomb_stays_small(tmp_path: Path) -> None:
    """64 MB of one line in 64 KB, or less, are read with less than half as much memory."""
    packer = zlib.compressobj(wbits=31)
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush())
    zst = zstandard.ZstdCompressor().compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(zst.compress(bytes(2**20)) for _ in range(64)) + zst.flush())
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        tracemalloc.start()
        try:
            (refusal,) = rows_of(tmp_path / name)
            assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
        finally:
            tracemalloc.stop()
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "line_too_long"


def test_a_text_that_begins_like_a_compressed_file(tmp_path: Path) -> None:
    posts, _ = posts_of(tmp_path / "a.txt", b"BZh\nB\n")
    assert [post.text for post in posts] == ["BZh", "B"]
    posts, _ = posts_of(tmp_path / "a.txt", b"BZh")
    assert [post.text for post in posts] == ["BZh"]


UTF16 = "text,keywords\nhello,a\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_encodings_that_are_recognised(tmp_path: Path, encoding: str) -> None:
    (post,), _ = posts_of(tmp_path / "utf16.csv", UTF16.encode(encoding))
    assert (post.text, post.keywords) == ("hello", ("a",))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "shift_jis", "cp1251", "gb18030", "utf-8"])
def test_encodings_that_are_given(tmp_path: Path, encoding: str) -> None:
    word = {"shift_jis": "日本", "cp1251": "привет", "gb18030": "你好 €"}.get(encoding, "café")
    file = tmp_path / "posts.csv"
    file.write_bytes(f"text\n{word}\n".encode(encoding) * 1)
    assert texts(rows_of(file, encoding=encoding)) == [word]


@pytest.mark.parametrize("encoding", ["idna", "punycode", "unicode_escape", "utf-7"])
def test_an_encoding_that_cannot_pass_on_what_it_does_not_have_is_an_error(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "posts.txt"
    file.write_bytes(b"caf\xe9 \\ud800 +2AA-\n")
    with pytest.raises(InputError, match=f"cannot be read as {encoding.replace('_', '-')}"):
        rows_of(file, encoding=encoding)


def test_what_an_encoding_does_not_have_is_refused_with_a_hint(tmp_path: Path) -> None:
    posts, tally = posts_of(tmp_path / "posts.txt", b"caf\xe9\nfine\n")
    assert [post.text for post in posts] == ["fine"]
    assert "--encoding" in tally.describe()[0]
    posts, tally = posts_of(tmp_path / "posts.txt", b"x\x81y\nfine\n", encoding="cp1252")
    assert ([post.text for post in posts], tally.total) == (["fine"], 1)


def test_half_a_pair_of_utf16_is_cleaned_and_counted(tmp_path: Path) -> None:
    content = "\ufeffone \ud83d\ntwo \U0001f600\n".encode("utf-16-le", "surrogatepass")
    posts, tally = posts_of(tmp_path / "posts.txt", content)
    assert [post.text for post in posts] == ["one \ufffd", "two \U0001f600"]
    assert (tally.cleaned, tally.total) == (1, 0)
