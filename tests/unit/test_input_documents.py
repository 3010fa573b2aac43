"""JSON arrays and sequences of JSON documents, read in pieces of any size."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import InputError
from streams.ingest import documents
from streams.ingest.documents import Document, elements
from streams.ingest.lines import LineReader
from streams.ingest.rows import Refusal, RefusalReason


class Pieces(io.BytesIO):
    """A stream that returns at most `size` bytes from a read."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self._size)


def read(content: bytes, size: int = 7) -> list[Document | Refusal]:
    return list(elements(LineReader(Pieces(content, size), name="a.json")))


OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none(), max_size=3))
SPACE = st.text(" \t\r\n", max_size=3)


@given(OBJECTS, SPACE, st.integers(1, 64), st.booleans(), st.booleans())
def test_objects_are_read_back(
    objects: list[dict[str, object]], space: str, size: int, in_array: bool, ascii_only: bool
) -> None:
    parts = [json.dumps(item, ensure_ascii=ascii_only) for item in objects]
    text = f"[{f'{space},{space}'.join(parts)}{space}]" if in_array else space.join(parts)
    found = read(f"{space}{text}{space}".encode("utf-8", "replace"), size)
    assert [item.members for item in found if isinstance(item, Document)] == json.loads(
        f"[{','.join(parts)}]".encode("utf-8", "replace")
    )
    assert [item.number for item in found if isinstance(item, Document)] == list(range(1, len(objects) + 1))


def test_elements_that_are_no_objects_are_refused() -> None:
    assert [type(item) for item in read(b'[{"text": "a"}, 12345678, "x", [1], {}]')] == [
        Document,
        Refusal,
        Refusal,
        Refusal,
        Document,
    ]


def test_numbers_that_are_not_json_cost_only_their_element() -> None:
    found = read(b'[{"text": "a", "likes": NaN}, {"text": "b"}, {"text": "c", "x": -Infinity}]')
    assert [type(item) for item in found] == [Refusal, Document, Refusal]
    assert found[0] == Refusal(1, RefusalReason.INVALID_JSON, "the element has NaN, which is not JSON")


@pytest.mark.parametrize("content", [b"", b"  \n", b"[]", b" [ ] "])
def test_nothing(content: bytes) -> None:
    assert read(content) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "not valid JSON at its beginning"),
        (b'[{"a": 1}, {"a": ', "after element 1"),
        (b'[{"a": 1} {"a": 2}]', "after element 1: .*a comma or a bracket is missing"),
        (b'[{"a": 1}', "a comma or a bracket is missing"),
        (b"[{}] more", "something follows the array"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"a": "\xff"}]', "not valid UTF-8; give its --encoding"),
        (b'[{"a": ' + b"9" * 5_000 + b"}]", "impossible number"),
    ],
)
def test_what_is_not_json_is_an_error_that_names_the_place(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(content, 1_000)
    assert "\n" not in str(caught.value)


def test_an_element_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_CHARS", 1_000)
    assert len(read(b'[{"a": "' + b"x" * 900 + b'"}]')) == 1
    with pytest.raises(InputError, match="longer than"):
        read(b'[{"a": "' + b"x" * 100_000 + b'"}]', 100)
