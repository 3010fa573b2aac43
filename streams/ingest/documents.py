"""Reads the JSON documents of an input: JSON lines, and the elements of a JSON array while it is read."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn

from pydantic_core import from_json

from streams.characters import cleaned_json
from streams.errors import InputError
from streams.ingest.lines import MAX_LINE_BYTES, LineReader
from streams.ingest.rows import NOT_UTF8, TOO_LONG, Refusal, RefusalReason

_SPACE: Final = " \t\r\n"
_BOM: Final = "\ufeff"
_MAX_CHARS: Final = MAX_LINE_BYTES
"""The longest element of an array, in characters."""


class Document(NamedTuple):
    """A JSON object.

    Attributes:
        number: the line of JSON lines, or the number of an element, from 1.
        members: the members. If a name is there twice, the last one counts.
        cleaned: whether characters that cannot be stored were replaced.
    """

    number: int
    members: dict[str, Any]
    cleaned: bool = False


def json_lines(lines: LineReader, *, clean: bool) -> Iterator[Document | Refusal]:
    """Yield the JSON object of each line, or a refusal. Blank lines are skipped.

    Args:
        lines: the input.
        clean: whether U+0000 and lone surrogates become U+FFFD.
    """
    for number, data in lines:
        if data is None:
            yield Refusal(number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
        elif data.strip():
            yield _line(number, data, clean)


def _line(number: int, data: bytes, clean: bool) -> Document | Refusal:
    value = cleaned_json(data) if clean else data
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)
    try:
        content = from_json(value, allow_inf_nan=False)
    except ValueError as exc:
        if not data.lstrip().startswith((b"{", b"[")):
            detail = "the line is not JSON; --format text reads plain text, with a post a line"
        else:
            # The parser takes this line for the first one of a document.
            detail = str(exc).replace(" at line 1 column ", " at column ")
        return Refusal(number, RefusalReason.INVALID_JSON, detail)
    if not isinstance(content, dict):
        hint = "; --format json reads an array" if isinstance(content, list) else ""
        return Refusal(number, RefusalReason.INVALID_JSON, f"the line is not a JSON object{hint}")
    return Document(number, content, value is not data and value != data)


def elements(lines: LineReader) -> Iterator[Document | Refusal]:
    """Yield the objects of a JSON array, or of a sequence of JSON documents, while it is read.

    Raises:
        InputError: The input is not JSON in UTF-8. An element is longer than `MAX_LINE_BYTES`.
    """
    found = _Elements(lines)
    for number, content in enumerate(found, start=1):
        if found.constant is not None:
            yield Refusal(number, RefusalReason.INVALID_JSON, f"the element has {found.constant}, which is not JSON")
        elif isinstance(content, dict):
            yield Document(number, content)
        else:
            yield Refusal(number, RefusalReason.INVALID_JSON, "the element is not a JSON object")


class _Elements:
    """Iterates over the elements of an array, or over documents with white space between them.

    Attributes:
        constant: a number in the current element that Python reads and that is not JSON, such as `NaN`; else None.
    """

    def __init__(self, lines: LineReader) -> None:
        self.constant: str | None = None
        self._name = lines.name
        self._chunks = lines.chunks()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_constant=self._note_constant)
        self._text = ""
        self._at = 0
        self._at_end = False
        self._count = 0

    def __iter__(self) -> Iterator[object]:
        if self._next() == _BOM:
            self._at += 1
        in_array = self._next() == "["
        if in_array:
            self._at += 1
            if self._next() == "]":
                self._finish()
                return
        while in_array or self._next():
            yield self._element()
            if not in_array:
                continue
            match self._next():
                case ",":
                    self._at += 1
                case "]":
                    self._finish()
                    return
                case _:
                    self._fail("a comma or a bracket is missing")

    def _element(self) -> object:
        self._next()
        wanted = 1
        while True:
            self.constant = None
            try:
                content, end = self._json.raw_decode(self._text, self._at)
            except RecursionError:
                self._fail("it is nested too deeply")
            except ValueError as exc:
                problem = exc.msg.lower() if isinstance(exc, json.JSONDecodeError) else "it has an impossible number"
            else:
                # A number at the end of the text may go on in what is not read yet.
                if end < len(self._text) or not isinstance(content, int | float) or not self._more(1):
                    self._at, self._count = end, self._count + 1
                    return content
                continue
            # The element may be incomplete. Each time twice as much is read, so that the work stays proportional.
            wanted = max(wanted, len(self._text) - self._at)
            if wanted > _MAX_CHARS:
                self._fail(f"it is not JSON, or longer than {MAX_LINE_BYTES // 1024**2} MiB")
            if not self._more(wanted):
                self._fail(problem)

    def _note_constant(self, name: str) -> None:
        self.constant = name

    def _next(self) -> str:
        """Skip white space, and return the next character; an empty string at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(1):
                return ""

    def _more(self, wanted: int) -> bool:
        """Read at least `wanted` characters more; returns whether there was any."""
        parts, read = [self._text[self._at :]], 0
        while read < wanted and not self._at_end:
            chunk = next(self._chunks, b"")
            self._at_end = not chunk
            try:
                part = self._utf8.decode(chunk, self._at_end)
            except UnicodeDecodeError:
                raise InputError(f"{self._name} is not valid UTF-8; give its --encoding") from None
            read += len(part)
            parts.append(part)
        self._text, self._at = "".join(parts), 0
        return read > 0

    def _finish(self) -> None:
        self._at += 1
        if self._next():
            self._fail("something follows the array", "")

    def _fail(self, problem: str, where: str = "the element after it: ") -> NoReturn:
        before = f"after element {self._count}" if self._count else "at its beginning"
        raise InputError(f"{self._name} is not valid JSON {before}: {where if self._count else ''}{problem}")
