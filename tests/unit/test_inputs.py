from __future__ import annotations

import io
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.sources.shapes.registry import SHAPES
from streams.errors import InputError
from streams.ingest.lines import MAX_LINE_BYTES, LineReader, open_lines, size_of
from streams.ingest.posts import PostMaker
from streams.ingest.reading import guess_format, read_rows
from streams.ingest.rows import Refusal, RefusalReason, Row, RowRules
from streams.ingest.tally import Tally
from streams.records import Post, Timestamp
from tests.input_support import read, refusals, spec, texts

NOW = Timestamp(2026, 3, 1, 12, tzinfo=UTC)


def test_text_is_a_post_a_line_and_blank_lines_are_skipped() -> None:
    items = read("\ufeffone\r\n\n  \n two \nthrée".encode(), "text")
    assert [(item.line, item.text) for item in items if isinstance(item, Row)] == [
        (1, "one"),
        (4, " two "),
        (5, "thrée"),
    ]


@pytest.mark.parametrize("input_format", ["text", "tsv", "csv"])
def test_invalid_utf8_refuses_its_own_line_only(input_format: str) -> None:
    items = read(b"good\nbad \xff\ngood again\n", input_format, header=None if input_format == "text" else False)
    assert [item.text for item in items if isinstance(item, Row)] == ["good", "good again"]
    assert refusals(items) == [(2, "invalid_utf8")]


@pytest.mark.parametrize("input_format", ["text", "tsv", "csv", "jsonl"])
def test_a_line_over_the_limit_is_refused(input_format: str) -> None:
    good = b'{"text": "good"}' if input_format == "jsonl" else b"good"
    content = b"\n".join([good, b"x" * (3 * MAX_LINE_BYTES), good, b""])
    header = None if input_format in {"text", "jsonl"} else False
    reader = LineReader(io.BytesIO(content), name="input")
    items = list(read_rows(reader, spec(input_format, header=header)))
    assert refusals(items) == [(2, "line_too_long")]
    assert [item.line for item in items if isinstance(item, Row)] == [1, 3]
    assert reader.position == len(content)


def test_json_lines_and_their_refusals() -> None:
    content = b"\n".join(
        [
            b'{"text": "one", "id": 7, "unknown": {}}',
            b'{"text": "broken"',
            b'["a list"]',
            b"",
            b'{"id": "no text"}',
            b'{"text": null}',
            b'{"text": 5}',
            b'{"text": "  "}',
            b'{"text": "' + b"x" * 101 + b'"}',
            b'{"text": "\xff"}',
            b'{"text": "[removed]"}',
            b"[" * 100_000,
            b'{"text": "x", "id": 1e26}',
            b'{"text": "last"}',
        ]
    )
    items = read(content, "jsonl")
    assert [item.line for item in items if isinstance(item, Row)] == [1, 14]
    assert refusals(items) == [
        (2, "invalid_json"),
        (3, "invalid_json"),
        (5, "missing_text"),
        (6, "missing_text"),
        (7, "missing_text"),
        (8, "empty_text"),
        (9, "text_too_long"),
        (10, "invalid_utf8"),
        (11, "removed"),
        (12, "invalid_json"),
        (13, "invalid_field"),
    ]


def test_plain_text_that_is_read_as_json_is_refused_with_the_way_out() -> None:
    (refusal,) = read(b"what a lovely day\n", "jsonl")
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (
        RefusalReason.INVALID_JSON,
        "the line is not JSON; --format text reads plain text, with a post a line",
    )


def test_json_is_mapped_with_expressions() -> None:
    content = b'{"commit": {"record": {"text": "one"}}, "text": "not this", "u": 5}\n{"text": "no"}'
    items = read(content, "jsonl", {"text": "commit.record.text", "author": "u"})
    assert items == [Row(1, "one", {"author": "5"}), Refusal(2, RefusalReason.MISSING_TEXT, "there is no text")]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"text": "one"}\n', "jsonl"),
        (b"\n  \ntext,label\none,joy\n", "csv"),
        (b"id;text\n1;one\n", "csv"),
        (b"text\tlabel\n", "tsv"),
    ],
)
def test_an_assumed_text_that_is_evidently_another_format_is_an_error(content: bytes, found: str) -> None:
    lines = LineReader(io.BytesIO(content), name="stdin")
    with pytest.raises(InputError, match=f"stdin seems to be {found}, .*; give --format {found}, or --format text"):
        list(read_rows(lines, spec("text", assumed=True)))
    assert read(content, "text")


@pytest.mark.parametrize("content", [b"text\n", b"call, text, or write\n", b"[1]\n", b"one\n{}\n", b"{so sad}\n"])
def test_an_assumed_text_may_look_odd(content: bytes) -> None:
    lines = LineReader(io.BytesIO(content), name="stdin")
    assert texts(list(read_rows(lines, spec("text", assumed=True))))


@pytest.mark.parametrize(
    ("input_format", "options"),
    [
        ("text", {"fields": {"text": "a"}}),
        ("jsonl", {"header": True}),
        ("tsv", {"delimiter": ";"}),
        ("parquet", {"encoding": "latin-1"}),
        ("csv", {"shape": SHAPES["jetstream"]}),
        ("jsonl", {"shape": SHAPES["sentiment140"]}),
        ("jsonl", {"shape": SHAPES["jetstream"], "fields": {"text": "a"}}),
        ("csv", {"shape": SHAPES["sentiment140"], "header": True}),
    ],
)
def test_options_that_contradict_each_other(input_format: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        spec(input_format, **options)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", "jsonl"),
        ("a.CSV", "csv"),
        ("b.tsv", "tsv"),
        ("c.txt", "text"),
        ("d.json", "json"),
        ("e.parquet", "parquet"),
        ("f.jsonl.gz", "jsonl"),
        ("g.csv.ZST", "csv"),
        ("h.json.bz2", "json"),
    ],
)
def test_format_by_suffix(name: str, expected: str) -> None:
    assert guess_format(name) == expected


def test_unknown_suffix(tmp_path: Path) -> None:
    file = tmp_path / "RC_2017-11.zst"
    file.touch()
    for name, message in (str(file), "--format"), (str(tmp_path), "is a folder"), ("posts.xlsx", "no such file"):
        with pytest.raises(InputError, match=message):
            guess_format(name)
    assert guess_format(str(file), SHAPES["pushshift"]) == "jsonl"
    assert guess_format(str(file), SHAPES["sentiment140"]) == "csv"


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"), open_lines(str(tmp_path / "absent")):
        pass
    with pytest.raises(InputError, match="is a folder"), open_lines(str(tmp_path)):
        pass
    file = tmp_path / "a.txt"
    file.write_bytes(b"one\n")
    assert size_of(str(file)) == 4
    with pytest.raises(InputError, match="cannot be opened"):
        size_of(str(file / "below"))


def test_reading_a_pipe_would_wait_only_if_it_has_no_complete_line() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as stream, open(write_end, "wb", buffering=0) as pipe:  # noqa: PTH123 - descriptors
        reader = LineReader(stream, name="pipe")
        lines = iter(reader)
        assert reader.would_wait()
        pipe.write(b"one\ntwo\nthr")
        assert next(lines) == (1, b"one")
        assert not reader.would_wait()
        assert next(lines) == (2, b"two")
        assert reader.would_wait()
        pipe.write(b"ee\n")
        assert not reader.would_wait()
        assert next(lines) == (3, b"three")


def make(values: Mapping[str, object], *, round_number: int = 1, **options: object) -> Post | Refusal:
    maker = PostMaker("file.csv", now=lambda: NOW, run="run", **options)  # type: ignore[arg-type]
    row = RowRules(100).row(3, {"text": "hello", **values})
    return row if isinstance(row, Refusal) else maker.make(row, round_number)


def test_a_post_gets_the_fields_that_its_row_lacks() -> None:
    expected = Post(id="run-3", text="hello", created_at=NOW, source="file.csv")
    assert make({}) == expected


def test_ids_differ_between_runs_and_rounds() -> None:
    row = Row(1, "hello")
    first, second = PostMaker("s"), PostMaker("s")
    posts = [first.make(row), second.make(row), first.make(row, 2), first.make(Row(1, "x", {"id": "a"}), 2)]
    posts.append(second.make(Row(1, "x", {"id": "a"}), 2))
    assert len({post.id for post in posts if isinstance(post, Post)}) == 5


def test_given_values_are_kept() -> None:
    post = make(
        {"id": 7, "created_at": "2026-01-01T01:00:00+01:00", "source": "s", "keywords": "coffee, rain,,", "lang": "en"},
        keywords=("extra",),
    )
    assert isinstance(post, Post)
    assert post.id == "7"
    assert post.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert post.source == "s"
    assert post.keywords == ("coffee", "rain", "extra")
    assert post.lang == "en"


@pytest.mark.parametrize("moment", [1_772_366_400, 1_772_366_400_000, "1772366400"])
def test_unix_times(moment: object) -> None:
    post = make({"created_at": moment})
    assert isinstance(post, Post)
    assert post.created_at == NOW


@pytest.mark.parametrize("post_id", ["1e5a", "79e1234", "12.0", "e5", "3e", "1050118621198921728"])
def test_ids_that_only_look_like_numbers(post_id: str) -> None:
    post = make({"id": post_id})
    assert isinstance(post, Post)
    assert post.id == post_id


def test_times_need_not_be_read() -> None:
    row = RowRules(100, times=False).row(3, {"text": "hello", "created_at": "nonsense"})
    assert row == Row(3, "hello")


@pytest.mark.parametrize("number", [12345, 9007199254740993, 99999999999999999999999999])
def test_numeric_ids_are_taken_digit_for_digit(number: int) -> None:
    line = b'{"id":%d,"text":"a","created_at":"2026-03-01T12:00:00Z","source":"x"}' % number
    (row,) = read(line, "jsonl")
    assert isinstance(row, Row)
    assert row.values["id"] == str(number)


def test_a_member_that_is_there_twice_has_its_last_value() -> None:
    assert texts(read(b'{"text":"first","text":"second"}', "jsonl")) == ["second"]
    assert texts(read(b'{"text":"first","text":"second"}', "json")) == ["second"]


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"created_at": "2026-03-01 12:00:00"}, "created_at: has no time zone"),
        ({"created_at": "yesterday"}, "created_at: is not a date and time"),
        ({"created_at": "2026-03-01"}, "created_at: is not a date and time"),
        ({"created_at": "2026-03-01T24:00:00Z"}, "created_at: has the hour 24; write 00:00 of the next day"),
        ({"created_at": "2016-12-31T23:59:60Z"}, "created_at: has a leap second"),
        ({"created_at": True}, "created_at: is neither"),
        ({"created_at": "nan"}, "created_at: is not a date and time"),
        ({"created_at": 5e10}, "created_at: is a number that is neither seconds nor milliseconds"),
        ({"id": 1e26}, "id: is neither a string nor a whole number"),
        ({"id": "1.05012E+18"}, "id: is a rounded number"),
        ({"id": "1050118621198921700.0"}, "id: is a rounded number"),
        ({"id": 10**1_300}, "id: is neither a string nor a whole number"),
        ({"created_at": [1]}, "created_at: is neither"),
        ({"created_at": "1969-01-01T00:00:00Z"}, "before 1970"),
        ({"id": True}, "id: is neither a string nor a whole number"),
        ({"id": "x" * 513}, "id"),
        ({"author": 5.5}, "author: is neither a string nor a whole number"),
        ({"lang": 5}, "lang: is not a string"),
        ({"keywords": {"a": 1}}, "keywords: is neither"),
        ({"keywords": [1]}, "keywords: is not a string"),
        ({"keywords": ["*"]}, "keywords"),
    ],
)
def test_a_row_that_cannot_be_a_post_is_refused(values: Mapping[str, object], detail: str) -> None:
    refusal = make(values)
    assert isinstance(refusal, Refusal)
    assert refusal.line == 3
    assert refusal.reason is RefusalReason.INVALID_FIELD
    assert detail in refusal.detail


def test_tally_keeps_the_first_lines() -> None:
    tally = Tally()
    for line in range(1, 9):
        tally.add(Refusal(line, RefusalReason.EMPTY_TEXT, "the text is empty"))
    tally.add(Refusal(9, RefusalReason.INVALID_JSON, "no"))
    assert tally.total == 9
    assert tally.describe() == [
        "empty_text: 8 (lines 1, 2, 3, 4, 5, …; the text is empty)",
        "invalid_json: 1 (line 9; no)",
    ]
    assert tally.as_json()["empty_text"]["lines"] == [1, 2, 3, 4, 5]


def test_the_demo_posts_are_all_usable() -> None:
    file = Path(__file__).parents[2] / "scripts" / "demo_posts.jsonl"
    maker = PostMaker("demo")
    with open_lines(str(file)) as lines:
        rows = list(read_rows(lines, spec("jsonl", text_max_chars=5_000)))
    posts = [maker.make(row) for row in rows if isinstance(row, Row)]
    assert len({post.text for post in posts if isinstance(post, Post)}) == len(rows) == 360
    assert len({keyword for post in posts if isinstance(post, Post) for keyword in post.keywords}) == 12
