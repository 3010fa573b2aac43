"""Files as people have them become the posts that `produce` sends."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.ingest.reading import InputSpec, open_input, read_rows
from streams.ingest.rows import InputFormat, Refusal, RowRules
from streams.records import Post, Timestamp
from tests.input_support import json_lines, posts_of, rows_of

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


def test_an_array(tmp_path: Path) -> None:
    posts, _ = posts_of(tmp_path / "array.json", b'[{"text": "array one, great"}, {"text": "array two, awful"}]')
    assert [(post.id, post.text) for post in posts] == [("run-1", "array one, great"), ("run-2", "array two, awful")]


def test_semicolons(tmp_path: Path) -> None:
    content = b'datum;text;autor\n01.03.2026 12:00;"Das ist ""toll""; wirklich";Anna\n'
    (post,), _ = posts_of(tmp_path / "semi.csv", content, fields={"text": "text"})
    assert post.text == 'Das ist "toll"; wirklich'


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
    beyond = pa.table({"text": ["late"], "at": pa.array([10**12], pa.timestamp("s"))})
    parquet.write_table(beyond, file)
    with pytest.raises(InputError, match="cannot be read as Parquet after row 0"):
        rows_of(file)
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        rows_of(file)
