from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.sources.shapes.registry import SHAPES
from streams.errors import InputError
from streams.ingest.lines import MAX_LINE_BYTES, LineReader, open_lines, size_of
from streams.ingest.posts import PostMaker
from streams.ingest.reading import guess_format, read_rows
from streams.ingest.rows import Refusal, RefusalReason, Row
from streams.ingest.tally import Tally
from streams.records import Post
from tests.input_support import read, refusals, spec, texts


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
