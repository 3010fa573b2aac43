"""Files as people have them become the posts that `produce` sends."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import tracemalloc
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import SHAPES
from streams.errors import InputError
from streams.ingest.posts import PostMaker
from streams.ingest.reading import InputSpec, guess_format, open_input, read_rows
from streams.ingest.rows import InputFormat, Refusal, Row, RowRules
from streams.ingest.tally import Tally
from streams.records import Post, Timestamp
from tests.input_support import texts

NOW = Timestamp(2026, 11, 28, tzinfo=UTC)

S140 = (
    b'"0","1467810369","Mon Apr 06 22:19:45 PDT 2009","NO_QUERY","_Some_User_",'
    b'"@friend http://t.example/2y - Awww, that\'s a bummer. caf\xe9 closed"\r\n'
    b'"4","1467810672","Mon Apr 06 22:19:49 PDT 2009","coffee","other","is upset that he can\'t update his page"\r\n'
)
TW1 = {
    "created_at": "Wed Oct 10 20:19:24 +0000 2018",
    "id": 1050118621198921728,
    "id_str": "1050118621198921728",
    "full_text": "To make room for more expression &amp; fun \N{PARTY POPPER}",
    "user": {"screen_name": "someone"},
    "lang": "en",
    "entities": {"hashtags": [{"text": "fun"}]},
}
RC = [
    {
        "id": "dpkq1a",
        "body": "this patch is trash &gt;.&lt;",
        "created_utc": 1509494400,
        "subreddit": "gaming",
        "author": "[deleted]",
    },
    {"id": "dpkq1b", "body": "[removed]", "created_utc": "1509494401", "subreddit": "gaming", "author": "x"},
]
BSKY = [
    {
        "did": "did:plc:abc",
        "time_us": 1772366400000000,
        "kind": "commit",
        "commit": {
            "rev": "3k",
            "operation": "create",
            "collection": "app.bsky.feed.post",
            "rkey": "3kabc",
            "record": {
                "$type": "app.bsky.feed.post",
                "createdAt": "2026-03-01T12:00:00.000Z",
                "langs": ["en"],
                "text": "so happy the sun is out",
            },
        },
    },
    {"did": "did:plc:abc", "time_us": 1772366400000001, "kind": "identity"},
]
KAGGLE = (
    b'\xef\xbb\xbfDate,Tweet,User\r\n2022-01-01 10:00:00,"so, ""fine""; next\r\nline",a\r\n'
    b"2022-01-01 10:00:01,I am scared of flying,b\r\n"
)
MAST = {
    "id": "111",
    "created_at": "2026-03-01T12:00:00.000Z",
    "content": '<p>Love it<br>really &amp; truly <a href="https://m.example/tags/cats">#<span>cats</span></a></p>',
    "language": "en",
    "account": {"acct": "a@b"},
}


def json_lines(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def spec_of(
    file: Path, *, shape: str | None = None, fields: dict[str, str] | None = None, zone: Any = None, **options: Any
) -> InputSpec:
    found = SHAPES[shape] if shape is not None else None
    rules = RowRules(5_000, zone=zone)
    return InputSpec(guess_format(str(file), found), rules, FieldMap.parse(fields or {}), found, **options)


def rows_of(file: Path, **options: Any) -> list[Row | Refusal]:
    spec = spec_of(file, **options)
    with open_input(str(file), spec) as lines:
        return list(read_rows(lines, spec))


def posts_of(file: Path, content: bytes, **options: Any) -> tuple[list[Post], Tally]:
    file.write_bytes(content)
    maker, tally, posts = PostMaker("s", now=lambda: NOW, run="run"), Tally(), []
    for row in tally.accepted(rows_of(file, **options)):
        post = maker.make(row)
        assert isinstance(post, Post), post
        posts.append(post)
    return posts, tally


def test_sentiment140(tmp_path: Path) -> None:
    (first, second), tally = posts_of(tmp_path / "s140.csv", S140, shape="sentiment140")
    assert first.id == "1467810369"
    assert first.text == "@friend http://t.example/2y - Awww, that's a bummer. café closed"
    assert (first.created_at, first.author) == (datetime(2009, 4, 7, 5, 19, 45, tzinfo=UTC), "_Some_User_")
    assert (first.keywords, second.keywords, tally.total) == ((), ("coffee",), 0)


def test_sentiment140_in_utf8(tmp_path: Path) -> None:
    (first, _), _ = posts_of(tmp_path / "s.csv", S140.decode("latin-1").encode(), shape="sentiment140")
    assert first.text.endswith("café closed")


def test_twitter_v1(tmp_path: Path) -> None:
    (post,), _ = posts_of(tmp_path / "tw1.jsonl", json_lines(TW1), shape="twitter-v1")
    assert post == Post(
        id="1050118621198921728",
        text="To make room for more expression & fun \N{PARTY POPPER}",
        created_at=Timestamp(2018, 10, 10, 20, 19, 24, tzinfo=UTC),
        source="s",
        keywords=post.keywords,
        lang="en",
        author="someone",
        url="https://x.com/i/status/1050118621198921728",
    )
    assert post.keywords == ("fun",)


def test_pushshift(tmp_path: Path) -> None:
    (post,), tally = posts_of(tmp_path / "rc.jsonl", json_lines(*RC), shape="pushshift")
    assert (post.text, post.author, post.id) == ("this patch is trash >.<", None, "t1_dpkq1a")
    assert post.created_at == datetime(2017, 11, 1, tzinfo=UTC)
    assert tally.as_json()["removed"]["lines"] == [2]


def test_jetstream(tmp_path: Path) -> None:
    (post,), tally = posts_of(tmp_path / "bsky.jsonl", json_lines(*BSKY), shape="jetstream")
    assert (post.text, post.lang) == ("so happy the sun is out", "en")
    assert (tally.total, tally.passed_over) == (0, 1)
    assert tally.describe() == []


def test_kaggle(tmp_path: Path) -> None:
    fields = {"text": "Tweet", "created_at": "Date"}
    posts, _ = posts_of(tmp_path / "kaggle.csv", KAGGLE, fields=fields, zone=UTC)
    assert [(post.text, post.created_at.rfc3339()) for post in posts] == [
        ('so, "fine"; next\r\nline', "2022-01-01T10:00:00.000Z"),
        ("I am scared of flying", "2022-01-01T10:00:01.000Z"),
    ]
    posts, tally = posts_of(tmp_path / "kaggle.csv", KAGGLE, fields=fields)
    assert (posts, tally.total) == ([], 2)
    assert "created_at: has no time zone" in tally.describe()[0]


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


def test_an_array(tmp_path: Path) -> None:
    posts, _ = posts_of(tmp_path / "array.json", b'[{"text": "array one, great"}, {"text": "array two, awful"}]')
    assert [(post.id, post.text) for post in posts] == [("run-1", "array one, great"), ("run-2", "array two, awful")]


def test_semicolons(tmp_path: Path) -> None:
    content = b'datum;text;autor\n01.03.2026 12:00;"Das ist ""toll""; wirklich";Anna\n'
    (post,), _ = posts_of(tmp_path / "semi.csv", content, fields={"text": "text"})
    assert post.text == 'Das ist "toll"; wirklich'


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


def test_mastodon(tmp_path: Path) -> None:
    (post,), _ = posts_of(tmp_path / "mast.jsonl", json_lines(MAST), shape="mastodon")
    assert (post.text, post.keywords) == ("Love it\nreally & truly #cats", ("cats",))


def test_a_byte_order_mark_is_no_part_of_the_first_field(tmp_path: Path) -> None:
    content = base64.b64decode("77u/eyJpZCI6ImIxIiwidGV4dCI6Iuasoui/jiJ9CnsiaWQiOiJiMiIsInRleHQiOiJvayJ9Cg==")
    for name in ("a.jsonl", "a.json"):
        posts, tally = posts_of(tmp_path / name, content)
        assert [(post.id, post.text) for post in posts] == [("b1", "欢迎"), ("b2", "ok")]
        assert tally.total == 0
    posts, _ = posts_of(tmp_path / "a.csv", b"\xef\xbb\xbftext,id\none,1\n")
    assert [(post.id, post.text) for post in posts] == [("1", "one")]


def test_characters_that_cannot_be_stored_are_cleaned_and_counted(tmp_path: Path) -> None:
    lines = (
        b'{"text": "a\\u0000b", "id": "1"}\n{"text": "c\\ud83d", "id": "2"}\n{"text": "d\\ud83d\\ude00", "id": "3"}\n'
    )
    for name in ("a.jsonl", "a.json"):
        posts, tally = posts_of(tmp_path / name, lines)
        assert [post.text for post in posts] == ["a\ufffdb", "c\ufffd", "d\U0001f600"]
        assert (tally.cleaned, tally.total) == (2, 0)
    posts, tally = posts_of(tmp_path / "a.csv", b"text,id\na\0b,1\n")
    assert ([post.text for post in posts], tally.cleaned) == (["a\ufffdb"], 1)


def test_they_are_refused_if_the_setting_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "a\\u0000b"}\n{"text": "b", "id": "\\u0000"}\n{"text": "c\\ud83d"}\n{"text": "d"}\n')
    spec = InputSpec(InputFormat.JSONL, RowRules(100, clean=False))
    with open_input(str(file), spec) as lines:
        found = list(read_rows(lines, spec))
    assert [item.reason for item in found if isinstance(item, Refusal)] == ["invalid_field"] * 2 + ["invalid_json"]


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table(
        {
            "id": pa.array([9007199254740993, 2, 3]),
            "tweet": ["one", "two", None],
            "at": pa.array([datetime(2022, 1, 1, 10)] * 3, pa.timestamp("ms")),  # noqa: DTZ001 - without a zone
            "keywords": [["a", "b"], [], None],
        }
    )
    file = tmp_path / "posts.parquet"
    parquet.write_table(table, file)
    fields = {"text": "tweet", "created_at": "at"}
    posts, tally = posts_of(file, file.read_bytes(), fields=fields, zone=UTC)
    assert [(post.id, post.text, post.keywords) for post in posts] == [
        ("9007199254740993", "one", ("a", "b")),
        ("2", "two", ()),
    ]
    assert posts[0].created_at == datetime(2022, 1, 1, 10, tzinfo=UTC)
    assert tally.as_json()["missing_text"]["lines"] == [3]
    _, tally = posts_of(file, file.read_bytes(), fields=fields)
    assert "has no time zone" in tally.describe()[0]
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        rows_of(file)
