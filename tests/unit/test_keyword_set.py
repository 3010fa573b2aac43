"""The records of the keywords topic as a set, and the keywords that a user gives."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.ingest.keywords import given as module
from streams.ingest.keywords.given import given_keywords
from streams.ingest.keywords.keyword_set import KeywordSet
from streams.records import KeywordRecord
from tests.helpers import NOON


def row(keyword: str) -> bytes:
    return KeywordRecord(keyword, NOON).to_json()


def test_of_the_records_of_a_keyword_the_last_one_counts() -> None:
    found = KeywordSet.of({b"iPhone": row("iPhone"), b"tea": row("Tea"), b"IPHONE": row("IPHONE")})
    assert found.keywords() == ("IPHONE", "Tea")
    assert (len(found), found.refused) == (2, 0)
    assert found.keys["iphone"] == (b"iPhone", b"IPHONE")


@pytest.mark.parametrize(
    "value", [b"", b"tea", b"{}", row(""), row("*"), row(" tea"), row("a\0"), row("x" * 201), row("\u200b")]
)
def test_records_that_cannot_be_keywords_are_counted(value: bytes) -> None:
    found = KeywordSet.of({b"1": value, b"2": row("tea")})
    assert (found.keywords(), found.refused) == (("tea",), 1)


def test_keywords_are_read_from_arguments_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "keywords.txt"
    file.write_bytes("\ufeffiPhone\r\n\r\n  Galaxy S24 \n#sale\n好用".encode())
    assert given_keywords(["a|b", " C++ "], str(file)) == ["a|b", "C++", "iPhone", "Galaxy S24", "#sale", "好用"]


def test_keywords_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tea\n")))
    assert given_keywords([], "-") == ["tea"]


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["tea", "*"], None, r"^argument 2: '\*' stands for all posts"),
        ([], None, "^no keyword is given$"),
        ([], b"\n \n", "has no keyword$"),
        ([], b"tea\n*\n", r"keywords.txt, line 2: '\*' stands"),
        ([], b"tea\n\xff\n", "keywords.txt, line 2: the line is not UTF-8"),
        ([], b"x" * 201, "keywords.txt, line 1: the keyword has 201 characters; 200 are allowed"),
        ([], b"a\nb\nc\nd\n", "keywords.txt has more than 3 keywords"),
        ([], b"x" * (4 * 2**20 + 1), "keywords.txt, line 1: the line is too long"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], content: bytes | None, message: str
) -> None:
    monkeypatch.setattr(module, "MAX_SET", 3)
    file = tmp_path / "keywords.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        given_keywords(arguments, None if content is None else str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        given_keywords([], str(tmp_path / "none"))
