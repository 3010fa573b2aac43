"""Reading CSV and TSV: the header, the columns, the separator and the quotes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams.errors import InputError
from streams.ingest.layout import choose_delimiter
from streams.ingest.rows import Refusal, RefusalReason, Row
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
    assert texts(read(b"tweet,x\none,1\n", "csv", {"text": "column1"}, header=True)) == ["one"]


def test_columns_by_name_and_number() -> None:
    content = b"id\ttweet\tdate\n7\tone\t2026-03-01T12:00:00Z\n"
    (row,) = read(content, "tsv", {"text": "tweet", "created_at": "column3"})
    assert row == Row(2, "one", {"id": "7", "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC)})
    (row,) = read(b"7\tone\n", "tsv", {"text": "column2", "id": "column1"})
    assert row == Row(1, "one", {"id": "7"})
    (row,) = read(b"Tweet text,b\none,c\n", "csv", {"text": '"Tweet text"'})
    assert row == Row(2, "one")


def test_columns_can_be_put_together() -> None:
    (row,) = read(b"title,body,tag\none,two &amp; three,x\n", "csv", {"text": "join(': ', [title, unescaped(body)])"})
    assert row == Row(2, "one: two & three")
    (row,) = read(b"a,b\none,two\n", "csv", {"text": "abs(a)"})
    assert row == Refusal(2, RefusalReason.INVALID_FIELD, "text: the expression cannot be applied to this record")


@pytest.mark.parametrize(
    ("content", "fields", "header", "message"),
    [
        (b"a,b\n", {"text": "tweet"}, None, "no column 'tweet'; its first row has 2 columns: 'a', 'b'"),
        (b"a,b\n", {"text": "Tweet"}, True, "no column 'Tweet'"),
        (b"a,b\n", {"text": "column3"}, None, "no column 'column3'; its first row has 2 columns: 'a', 'b'"),
        (b"a,b\n", {"id": "column1"}, None, "no column 'text'"),
        (b"a,b\n", {}, True, "no column 'text'"),
        (
            b"Tweet,b\none,joy\n",
            {},
            None,
            r"no column 'text'; its first row has 2 columns: 'Tweet', 'b'\. Give --map",
        ),
        (b"one\n", {}, None, r"no column 'text'; its first row has 1 column: 'one'\. .* no header, give --no-header"),
        (b"a,b\n", {"text": "a"}, False, "they are column1, column2"),
        (b"text,Text\n", {}, None, "2 columns 'text'; .* column1 or column2"),
        (b"a,a\n", {"text": "a"}, None, "2 columns 'a'; .* column1 or column2"),
    ],
)
def test_columns_that_do_not_exist_or_are_ambiguous(
    content: bytes, fields: dict[str, str], header: bool | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(content, "csv", fields, header)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fields", "header"),
    [
        (b"text;label\none;joy\n", {}, None),
        (b'id; "Text" ;label\n1;one;joy\n', {}, None),
        (b'"text";"label"\n"one";"joy"\n', {}, None),
        (b"text\tlabel\none\tjoy\n", {}, None),
        (b"\nid|text\n1|one\n", {}, None),
        (b"tweet;label\none;joy\n", {"text": "tweet"}, None),
        (b"when, where;tweet\nnow, here;one\n", {"text": "tweet"}, None),
        (b"tweet;label\none;joy\n", {"text": "not_null(tweet, label)"}, True),
        (b"text,more;less\none,two;three\n", {}, None),
        (b"sep=#\r\ntext#label\r\none#joy\r\n", {}, None),
        (b'"sep=;"\none;joy\n', {}, False),
    ],
)
def test_the_delimiter_is_found_in_the_header(content: bytes, fields: dict[str, str], header: bool | None) -> None:
    assert texts(read(content, "csv", fields, header)) == ["one"]


def test_a_double_quote_separates_no_cells() -> None:
    assert choose_delimiter('sep="', [], None) == ","


def test_the_delimiter_can_be_given() -> None:
    assert texts(read(b"one;joy\n", "csv", {"text": "column1"}, False, delimiter=";")) == ["one"]
    assert texts(read(b'text#label\n"o#ne"#joy\n', "csv", delimiter="#")) == ["o#ne"]


@pytest.mark.parametrize(
    ("content", "fields", "header", "message"),
    [
        (b"tweet;label\none;joy\n", {"text": "column2"}, None, "semicolons in it: 'tweet;label'; .* --delimiter ';'"),
        (b"tweet;label\none;joy\n", {"text": "column1"}, True, "semicolons"),
        (b"one\tjoy\ntwo\tfear\n", {}, None, "tabs in it: .* --delimiter tab"),
        (b"one;joy\ntwo;fear\n", {}, None, "if it is one text, give --no-header --map text=column1"),
        (b"one|joy\ntwo|fear\n", {}, False, "vertical bars .* if it is one text, give --no-header --map text=column1"),
        (b"text;label\none;joy\n", {}, False, "semicolons"),
    ],
)
def test_another_delimiter_that_is_not_certain_is_an_error(
    content: bytes, fields: dict[str, str], header: bool | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(content, "csv", fields, header)


def test_a_tsv_with_commas_is_an_error() -> None:
    with pytest.raises(InputError, match=r"commas in it: .* --format csv --delimiter ','"):
        read(b"text,label\none,joy\n", "tsv")


def test_a_text_may_have_separators_in_it() -> None:
    assert texts(read(b"well; yes\nno\n", "csv", {"text": "column1"}, header=False)) == ["well; yes", "no"]
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


def test_a_stray_quote_says_what_follows_it() -> None:
    (first, second) = read(b'text;label\n"one" x;joy\n"two","three";joy\n', "csv")
    assert isinstance(first, Refusal)
    assert isinstance(second, Refusal)
    assert second.detail == "a double quote closes a cell, and ',' follows it instead of ';'"


def test_a_long_cell_costs_only_its_own_row() -> None:
    content = b'text,keywords\n"' + b"x" * 200_000 + b'",a\n"so, ""fine"";\nnext line",a|b;c\n'
    assert read(content, "csv", text_max_chars=5_000) == [
        Refusal(2, RefusalReason.TEXT_TOO_LONG, "the text has 200000 characters; 5000 are allowed"),
        Row(3, 'so, "fine";\nnext line', {"keywords": ("a|b;c",)}),
    ]


def test_a_row_with_more_cells_than_the_first_is_refused() -> None:
    items = read(b"text,label\nhello, world,joy\nshort\n", "csv")
    assert refusals(items) == [(2, "wrong_columns")]
    assert [item.text for item in items if isinstance(item, Row)] == ["short"]
