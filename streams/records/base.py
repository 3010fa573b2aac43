"""Reads and writes records. Pure.

`from_json` reads a record, and `to_json` writes it. `from_json` checks types and limits. It ignores unknown fields, so
that producers can add their own. A constructor does not check types and limits; `from_fields` does.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from datetime import datetime
from inspect import cleandoc
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Struct

from streams.records.values import ALL_KEYWORDS, MAX_KEYWORD_CHARS, MAX_KEYWORDS, NO_NUL, Keywords
from streams.timestamps import Timestamp

R = TypeVar("R", bound="Record")
T = TypeVar("T")


class RecordError(ValueError):
    """A value is not a valid record. The message is one line and does not quote the value."""


class MalformedRecordError(RecordError):
    """A value is not JSON in UTF-8."""


class Record(Struct, frozen=True, gc=False):
    """Base class of all records. A record is immutable.

    `gc=False`: no record is part of a reference cycle, so Python's garbage collector need not track records.
    """

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode and check a record.

        Raises:
            MalformedRecordError: `value` is not JSON in UTF-8.
            RecordError: A field is missing, has the wrong type, or has an impossible value.
        """
        try:
            return _decode(_decoder(cls), value)
        except msgspec.ValidationError as exc:
            # The decoder stops at the first wrong field. What follows it decides whether the value is JSON.
            parse(value)
            raise RecordError(_explain(exc)) from None

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> Self:
        """Make a record from unchecked values.

        Raises:
            RecordError: A field is missing, has the wrong type, or has an impossible value.
        """
        _decoder(cls)  # msgspec then knows the class
        try:
            record = msgspec.convert(dict(fields), cls, dec_hook=_decode_hook)
            record.to_json()
        except msgspec.ValidationError as exc:
            raise RecordError(_explain(exc)) from None
        except UnicodeEncodeError:
            raise RecordError("has text with a lone surrogate, which is not a character") from None
        return record

    def to_json(self) -> bytes:
        """Returns the record as JSON in UTF-8."""
        return _ENCODER.encode(self)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Returns a JSON Schema (draft 2020-12). `from_json` accepts each document that is valid by it.

        It accepts a few others too, such as more keywords than are allowed if some are empty or repeated.
        """
        (schema,), definitions = msgspec.json.schema_components(
            [cls], schema_hook=_schema_hook, ref_template="#/$defs/{name}"
        )
        own = definitions.pop(schema["$ref"].rpartition("/")[2])
        for definition in (own, *definitions.values()):
            if "description" in definition:
                definition["description"] = cleandoc(definition["description"])
        return {**({"$defs": definitions} if definitions else {}), **own}


def parse(value: bytes | None) -> Any:  # noqa: ANN401 - any JSON
    """Decode JSON without checking it against a record.

    Raises:
        MalformedRecordError: `value` is not JSON in UTF-8.
        RecordError: A number is out of range.
    """
    try:
        return _decode(_ANY, value)
    except msgspec.ValidationError as exc:
        raise RecordError(_explain(exc)) from None


def members(value: object) -> dict[str, Any]:
    """Returns the members of a JSON object; none if the value is not an object."""
    return value if isinstance(value, dict) else {}


def rename(value: object, old: str, new: str) -> None:
    """Rename a member of a JSON object, if it has one of the old name."""
    if old in (fields := members(value)):
        fields[new] = fields.pop(old)


def _decode(decoder: msgspec.json.Decoder[T], value: bytes | None) -> T:
    """Decode JSON.

    Raises:
        MalformedRecordError: `value` is not JSON in UTF-8.
        msgspec.ValidationError: A field is not as the decoder expects it.
    """
    try:
        # The decoder does not check the encoding of the fields that it skips, so decode UTF-8 first.
        return decoder.decode((value or b"").decode("utf-8"))
    except msgspec.ValidationError:
        raise
    except UnicodeDecodeError:
        raise MalformedRecordError("is not UTF-8") from None
    except msgspec.DecodeError as exc:
        raise MalformedRecordError(str(exc)) from None
    except RecursionError:
        raise MalformedRecordError("is nested too deeply") from None


def _decode_hook(kind: type, value: Any) -> Any:  # noqa: ANN401 - msgspec's hook takes and gives any type
    if kind is Timestamp:
        if isinstance(value, str):
            return Timestamp.parse(value)
        if isinstance(value, datetime):
            return Timestamp.of(value).checked()
        raise ValueError("is not a date and time; write 2026-03-01T12:00:00Z")
    if kind is Keywords:
        if value is None:
            return Keywords()
        if isinstance(value, list | tuple):
            return Keywords.of(value)
        raise ValueError("is not a list of keywords")
    raise NotImplementedError(kind)


def _encode_hook(value: Any) -> Any:  # noqa: ANN401 - msgspec's hook takes and gives any type
    if isinstance(value, Timestamp):
        return value.rfc3339()
    raise NotImplementedError(type(value))


def _schema_hook(kind: type) -> dict[str, Any]:
    if kind is Timestamp:
        return {"type": "string", "format": "date-time"}
    if kind is Keywords:
        all_posts = {"pattern": rf"^\s*{re.escape(ALL_KEYWORDS)}\s*$"}
        word = {"type": "string", "maxLength": MAX_KEYWORD_CHARS, **NO_NUL, "not": all_posts}
        return {"anyOf": [{"type": "array", "items": word, "maxItems": MAX_KEYWORDS}, {"type": "null"}]}
    raise NotImplementedError(kind)


_MISSING = re.compile(r"Object missing required field `(.+)`")

_ANY = msgspec.json.Decoder()

_ENCODER = msgspec.json.Encoder(enc_hook=_encode_hook)


_decoders: dict[type[Record], msgspec.json.Decoder[Any]] = {}

_inspecting = threading.Lock()
"""Held while msgspec inspects a class for the first time. A second thread that uses the class meanwhile, also as the
type of a field, reads memory that msgspec has not filled yet, and the process ends by SIGSEGV (msgspec 0.22)."""


def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    found = _decoders.get(kind)
    if found is None:
        with _inspecting:
            found = _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=_decode_hook)
    return found


def _explain(error: msgspec.ValidationError) -> str:
    """Returns one line that names the field and the problem: `created_at: is before 1970`."""
    message, _, path = str(error).partition(" - at `$")
    field = path.removesuffix("`").lstrip(".")
    if missing := _MISSING.fullmatch(message):
        return f"{'.'.join(filter(None, (field, missing[1])))}: is missing"
    return f"{field}: {message}" if field else message
