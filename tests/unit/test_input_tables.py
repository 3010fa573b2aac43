"""Reading CSV and TSV: the header, the columns, the separator and the quotes."""

from __future__ import annotations

import pytest

from streams.errors import InputError
from streams.ingest.rows import Refusal, Row
from tests.input_support import read, refusals, texts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"text,id\none,1\n", ["one"], id="a cell `text`"),
        pytest.param(b"\xef\xbb\xbf Text ,label\none,joy\n", ["one"], id="case, space and BOM"),
    ],
)
def test_a_header_is_detected(content: bytes, expected: list[str]) -> None:
    assert texts(read(content, "csv")) == expected


def test_the_user_can_say_whether_there_is_a_header() -> None:
    assert texts(read(b"text\none\n", "csv", header=False)) == ["text", "one"]
    assert texts(read(b"one,joy\ntwo,fear\n", "csv", header=False)) == ["one", "two"]
    assert texts(read(b"tweet,x\none,1\n", "csv", {"text": "1"}, header=True)) == ["one"]


def test_columns_by_name_and_number() -> None:
    content = b"id\ttweet\tdate\n7\tone\t2026-03-01T12:00:00Z\n"
    (row,) = read(content, "tsv", {"text": "TWEET", "created_at": "3"})
    assert row == Row(2, "one", {"id": "7", "created_at": "2026-03-01T12:00:00Z"})
    (row,) = read(b"7\tone\n", "tsv", {"text": "2", "id": "1"})
    assert row == Row(1, "one", {"id": "7"})


@pytest.mark.parametrize(
    ("content", "columns", "header", "message"),
    [
        (b"a,b\n", {"text": "tweet"}, None, "no column 'tweet'; its first row has 2 columns: 'a', 'b'"),
        (b"a,b\n", {"text": "3"}, None, "no column 3; its first row has 2 columns: 'a', 'b'"),
        (b"a,b\n", {"text": "0"}, None, "no column 0"),
        (b"a,b\n", {"id": "1"}, None, "no column 'text'"),
        (b"a,b\n", {}, True, "no column 'text'"),
        (
            b"Tweet,b\none,joy\n",
            {},
            None,
            r"no column 'text'; its first row has 2 columns: 'Tweet', 'b'\. Give --column",
        ),
        (b"one\n", {}, None, r"no column 'text'; its first row has 1 column: 'one'\. .* no header, give --no-header"),
        (b"a,b\n", {"text": "a"}, False, "give their numbers"),
        (b"text,Text\n", {}, None, "2 columns 'text'"),
    ],
)
def test_columns_that_do_not_exist_or_are_ambiguous(
    content: bytes, columns: dict[str, str], header: bool | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(content, "csv", columns, header)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "columns", "header", "message"),
    [
        (b"text;label\none;joy\n", {}, None, "semicolons in it: 'text;label'; save the file with commas"),
        (b'id; "Text" ;label\n1;one;joy\n', {}, None, "semicolons"),
        (b"text\tlabel\none\tjoy\n", {}, None, "tabs in it: .* --format tsv"),
        (b"id|text\n1|one\n", {}, None, "vertical bars"),
        (b"tweet;label\none;joy\n", {"text": "tweet"}, None, "semicolons"),
        (b"tweet;label\none;joy\n", {"text": "2"}, None, "semicolons"),
        (b"tweet;label\none;joy\n", {"text": "1"}, True, "semicolons"),
        (b"one;joy\ntwo;fear\n", {}, None, "semicolons .* if it is one text, give --no-header --column text=1"),
        (b"one;joy\ntwo;fear\n", {}, False, "semicolons .* if it is one text, give --no-header --column text=1"),
    ],
)
def test_a_csv_with_another_separator_is_an_error(
    content: bytes, columns: dict[str, str], header: bool | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(content, "csv", columns, header)


def test_a_tsv_with_commas_is_an_error() -> None:
    with pytest.raises(InputError, match=r"commas in it: .* --format csv"):
        read(b"text,label\none,joy\n", "tsv")


def test_a_text_may_have_separators_in_it() -> None:
    assert texts(read(b"well; yes\nno\n", "csv", {"text": "1"}, header=False)) == ["well; yes", "no"]
    assert texts(read(b"text\nwell; yes|no\n", "csv")) == ["well; yes|no"]
    assert texts(read(b"id,text\n7,well; yes\n", "csv")) == ["well; yes"]
    assert texts(read(b"one, two\n", "tsv", header=False)) == ["one, two"]


def test_tsv_has_no_quoting() -> None:
    content = b'"an open quote\tjoy\nsaid "so" he\tfear\r\n""\tlove\n'
    assert texts(read(content, "tsv", header=False)) == ['"an open quote', 'said "so" he', '""']


def test_csv_is_rfc_4180() -> None:
    content = b'text,id\r\n"one, ""two""\r\nthree",1\r\nplain,2\r\n'
    items = read(content, "csv")
    assert [(item.line, item.text) for item in items if isinstance(item, Row)] == [
        (2, 'one, "two"\r\nthree'),
        (4, "plain"),
    ]


def test_a_stray_quote_refuses_its_own_line_only() -> None:
    content = b'text,id\none,1\n"never closed,2\nthree,3\n"four" x,4\nfive,5\n'
    items = read(content, "csv")
    assert [item.text for item in items if isinstance(item, Row)] == ["one", "three", "five"]
    assert refusals(items) == [(3, "invalid_csv"), (5, "invalid_csv")]


def test_a_quoted_csv_with_semicolons_says_what_follows_a_quote() -> None:
    (refusal, _) = read(b'"text";"label"\n"I love it";"joy"\n', "csv")
    assert isinstance(refusal, Refusal)
    assert refusal.detail == "a double quote closes a cell, and ';' follows it instead of a comma"


def test_a_row_with_more_cells_than_the_first_is_refused() -> None:
    items = read(b"text,label\nhello, world,joy\nshort\n", "csv")
    assert refusals(items) == [(2, "wrong_columns")]
    assert [item.text for item in items if isinstance(item, Row)] == ["short"]
