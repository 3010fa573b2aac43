"""The fields of a row become those of a post."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from streams.ingest.posts import PostMaker
from streams.ingest.rows import Refusal, RefusalReason, Row, RowRules
from streams.records import Post
from tests.input_support import NOW, read, texts


def make(values: Mapping[str, object], *, round_number: int = 1, **options: object) -> Post | Refusal:
    maker = PostMaker("file.csv", now=lambda: NOW, run="run", **options)  # type: ignore[arg-type]
    row = RowRules(100).row(3, {"text": "hello", **values})
    return row if isinstance(row, Refusal) else maker.make(row, round_number)


def test_a_post_gets_the_fields_that_its_row_lacks() -> None:
    expected = Post(id="run-3", text="hello", created_at=NOW, source="file.csv")
    assert make({}) == expected


@pytest.mark.parametrize("keywords", ["coffee, school ,,", ["coffee", " school", " "]])
def test_keywords_have_no_space_around_them(keywords: object) -> None:
    row = RowRules(100).row(3, {"text": "hello", "keywords": keywords})
    assert isinstance(row, Row)
    assert row.values["keywords"] == ("coffee", "school")


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
