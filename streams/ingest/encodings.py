"""Turns inputs in any encoding into UTF-8 while they are read."""

from __future__ import annotations

import codecs
from typing import Final

from streams.errors import InputError
from streams.ingest.streams import ByteStream, peek

_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, with whose mark it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK_BYTES: Final = 64 * 1024
_INVALID_UNIT: Final = "emostream.invalid_unit"


def checked_encoding(name: str) -> str:
    """Returns the name of an encoding as Python writes it.

    Raises:
        InputError: There is no such encoding of text.
    """
    try:
        found = codecs.lookup(name).name
        # Fails for codecs that are no encodings of text.
        "".encode(found)
    except (LookupError, ValueError):
        raise InputError(f"{name!r} is not an encoding, such as utf-8, latin-1, cp1252 or utf-16") from None
    return found


def utf8(stream: ByteStream, encoding: str | None, name: str) -> ByteStream:
    """Returns a stream of the same text in UTF-8.

    Without `encoding` a byte order mark tells UTF-16 and UTF-32; UTF-16 without a mark is recognised if its first
    character is ASCII. Anything else is passed on as it is, as UTF-8. Bytes that the encoding does not have are passed
    on too, so that they are no UTF-8. Half a pair of UTF-16 becomes U+0000, which is cleaned later.

    Args:
        stream: the stream, at its beginning.
        encoding: the encoding that the user gave; None to recognise it.
        name: the name of the input in messages.

    Raises:
        InputError: The encoding is UTF-16 or UTF-32, and nothing tells the order of its bytes. Reading the result: the
            encoding cannot have these bytes, and cannot pass them on.
    """
    first, peeked = peek(stream, (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_BE), _CHUNK_BYTES)
    found = checked_encoding(encoding) if encoding is not None else _recognised(first)
    marks = tuple(mark for mark, marked in _BOMS if marked == found)
    if encoding is not None and marks and first and not first.startswith(marks):
        found = _recognised(first)
        if found is None:
            raise InputError(f"{name} has no byte order mark; give --encoding {encoding}-le or {encoding}-be")
    return peeked if found in {None, "utf-8", "utf-8-sig", "ascii"} else _Transcoded(peeked, found or "", name)


def _recognised(first: bytes) -> str | None:
    for mark, encoding in _BOMS:
        if first.startswith(mark):
            return encoding
    if len(first) >= 4:
        if first[0] and not first[1] and first[2]:
            return "utf-16-le"
        if not first[0] and first[1] and not first[2]:
            return "utf-16-be"
    return None


class _Transcoded:
    """Decodes a stream and encodes it in UTF-8."""

    def __init__(self, stream: ByteStream, encoding: str, name: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._name = name
        self._errors = _INVALID_UNIT if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._ready = b""
        self._at_end = False

    def read1(self, size: int, /) -> bytes:
        while not self._ready and not self._at_end:
            data = self._stream.read1(_CHUNK_BYTES)
            self._at_end = not data
            try:
                text = self._decoder.decode(data, self._at_end)
                self._ready = text.encode("utf-8", "surrogateescape")
            except UnicodeError as exc:  # of encodings such as punycode and unicode_escape
                raise InputError(f"{self._name} cannot be read as {self._encoding}") from exc
        ready, self._ready = self._ready[:size], self._ready[size:]
        return ready

    def fileno(self) -> int:
        return self._stream.fileno()


def _nul(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\0", error.end


codecs.register_error(_INVALID_UNIT, _nul)
