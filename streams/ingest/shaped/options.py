"""The options of sources.toml that say which shape the posts of a source have, and which limits it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import SHAPES, Shape
from connectors.sources.shapes.zones import named_zone
from streams.errors import InputError
from streams.ingest.encodings import checked_encoding
from streams.ingest.layout import checked_delimiter
from streams.ingest.reading import InputSpec, guess_format
from streams.ingest.rows import InputFormat, RowRules
from streams.ingest.shaped.documents import DocumentReader
from streams.ingest.sources.config import SourceSpec
from streams.settings import Settings

E = TypeVar("E", bound=StrEnum)

DOCUMENT_OPTIONS: Final = frozenset({"shape", "map", "timezone"})
"""The options of a source whose posts are JSON documents."""

FILE_OPTIONS: Final = DOCUMENT_OPTIONS | {"format", "header", "delimiter", "encoding"}
"""The options of a source whose posts are in files."""

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
"""A name of a header (RFC 9110, 5.6.2)."""

_NO_LIMIT: Final = 2**62
"""The longest text of a row. What is done with a long text is decided later, as for every source."""


class Begin(StrEnum):
    """Where a source without a position begins."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True)
class FileShape:
    """How to read files of any shape. The attributes are those of `InputSpec`.

    Attributes:
        format: the format of all files; None to tell it by the suffix of each.
        zone: the zone of times that state none; None to refuse them.
        clean: whether U+0000 and lone surrogates become U+FFFD.
    """

    mapping: FieldMap
    shape: Shape | None
    zone: tzinfo | None
    clean: bool
    format: InputFormat | None = None
    header: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None

    def spec(self, file: str) -> InputSpec:
        """Returns how to read a file. Options of other formats than the file has do not count.

        Raises:
            InputError: The suffix does not tell the format, or the shape does not fit it.
        """
        found = self.format or guess_format(file, self.shape)
        is_table = found in {InputFormat.CSV, InputFormat.TSV} and self.shape is None
        return InputSpec(
            found,
            RowRules(_NO_LIMIT, self.zone, clean=self.clean),
            self.mapping,
            self.shape,
            self.header if is_table else None,
            self.delimiter if found is InputFormat.CSV else None,
            self.encoding if found is not InputFormat.PARQUET else None,
            assumed=self.format is None,
        )


def document_reader(spec: SourceSpec, settings: Settings) -> DocumentReader:
    """Returns how to read the JSON documents of a source.

    Raises:
        InputError: An option cannot be used.
    """
    mapping, shape, zone = _shape(spec)
    if shape is not None and shape.is_table:
        raise InputError(f"{where(spec)}: the shape {spec.options['shape']!r} is that of a table, and not of JSON")
    return DocumentReader(spec.instance, mapping, shape, zone, _cleans(settings))


def file_shape(spec: SourceSpec, settings: Settings) -> FileShape:
    """Returns how to read the files of a source.

    Raises:
        InputError: An option cannot be used.
    """
    mapping, shape, zone = _shape(spec)
    header = spec.options.get("header")
    if header is not None and not isinstance(header, bool):
        raise InputError(f"{where(spec)}: header is true or false")
    named_format = choice(spec, "format", InputFormat) if "format" in spec.options else None
    delimiter, encoding = text(spec, "delimiter"), text(spec, "encoding")
    try:
        found = FileShape(
            mapping,
            shape,
            zone,
            _cleans(settings),
            named_format,
            header,
            None if delimiter is None else checked_delimiter(delimiter),
            None if encoding is None else checked_encoding(encoding),
        )
        if named_format is not None:
            found.spec("")
    except InputError as exc:
        raise InputError(f"{where(spec)}: {exc}") from exc
    return found


def where(spec: SourceSpec) -> str:
    """Returns the name of a source in messages."""
    return f"source {spec.instance!r}"


def no_endpoint(spec: SourceSpec) -> None:
    """Refuse an endpoint.

    Raises:
        InputError: The source has one.
    """
    if spec.endpoints:
        raise InputError(f"{where(spec)}: {spec.kind} has no endpoint; its options say what it reads")


def text(spec: SourceSpec, name: str) -> str | None:
    """Returns an option that is a string; None if it is not given.

    Raises:
        InputError: It is no string, or an empty one.
    """
    value: Any = spec.options.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise InputError(f"{where(spec)}: {name} is a string; one that looks like a number or a time needs quotes")
    return value


def required(spec: SourceSpec, name: str, example: str) -> str:
    """Returns an option that is a string and must be given.

    Raises:
        InputError: It is not given, or no string.
    """
    value = text(spec, name)
    if value is None:
        raise InputError(f"{where(spec)}: give {name}, such as {name} = {example!r}")
    return value


def number(spec: SourceSpec, name: str, default: float, *, least: float, most: float) -> float:
    """Returns an option that is a number between two limits.

    Raises:
        InputError: It is not.
    """
    value: Any = spec.options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{where(spec)}: {name} is a number from {least:g} to {most:g}")
    return float(value)


def choice(spec: SourceSpec, name: str, kind: type[E], default: E | None = None) -> E:
    """Returns an option that is one of some words.

    Raises:
        InputError: It is none of them, or not given although it has no default.
    """
    value: Any = spec.options.get(name, default)
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"{where(spec)}: {name} is one of {', '.join(kind)}") from None


def address(spec: SourceSpec, name: str, default: str) -> tuple[str, int]:
    """Returns the host and the port of an option such as `127.0.0.1:8090` or `[::1]:8090`.

    Raises:
        InputError: It is no such address.
    """
    given = text(spec, name) or default
    try:
        parts = urlsplit(f"//{given}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or parts.netloc != given or "@" in given:
        raise InputError(f"{where(spec)}: {name} is an address and a port, such as {default}")
    return host, port


def header_name(spec: SourceSpec, name: str) -> str | None:
    """Returns an option that is the name of a header, in lower case; None if it is not given.

    Raises:
        InputError: It is no such name.
    """
    value = text(spec, name)
    if value is not None and _HEADER.fullmatch(value) is None:
        raise InputError(f"{where(spec)}: {name} is the name of a header, such as X-Hub-Signature-256")
    return None if value is None else value.lower()


def _shape(spec: SourceSpec) -> tuple[FieldMap, Shape | None, tzinfo | None]:
    shape_name, zone_name = text(spec, "shape"), text(spec, "timezone")
    given: Any = spec.options.get("map", {})
    if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
        raise InputError(f"{where(spec)}: map is a table of fields and expressions, such as map.text = 'body'")
    if shape_name is not None and shape_name not in SHAPES:
        raise InputError(f"{where(spec)}: there is no shape {shape_name!r}; there are {', '.join(SHAPES)}")
    if shape_name is not None and given:
        raise InputError(f"{where(spec)}: a shape says where the fields are; give shape or map")
    if shape_name is not None and zone_name is not None:
        raise InputError(f"{where(spec)}: the times of a shape state their zone; timezone is for other inputs")
    try:
        mapping = FieldMap.parse(given)
        zone = None if zone_name is None else named_zone(zone_name)
    except ValueError as exc:
        problem = f"timezone {zone_name!r} {exc}" if "time zone" in str(exc) else str(exc)
        raise InputError(f"{where(spec)}: {problem}") from exc
    return mapping, SHAPES[shape_name] if shape_name is not None else None, zone


def _cleans(settings: Settings) -> bool:
    return settings.invalid_characters == "replace"
