"""The secrets of channels: references to them in the channels file, and all forms in which they could be printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from pydantic import BaseModel, SecretStr

from streams.errors import SettingsError

MAX_SECRET_BYTES: Final = 16_384

_SECRET_KEYS: Final = frozenset({"url", "secret", "user", "password"})
_SHORTEST_PART: Final = 8
"""The fewest characters of a part of an address that may be a token. A shorter one may be any word."""


def with_secrets(table: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Returns the table of a channel with each `env:NAME` and `file:PATH` replaced by what it refers to.

    Only secrets may be references: `url`, `secret`, `user`, `password`, and the values of `headers`. A file is read up
    to its end, without the white space there. A relative path begins in `folder`.

    Raises:
        SettingsError: A variable is not set, or a file cannot be read.
    """
    fields = dict(table)
    problems: list[str] = []
    for key in sorted(_SECRET_KEYS & fields.keys()):
        fields[key] = _resolved(key, fields[key], folder, environ, problems)
    if isinstance(headers := fields.get("headers"), dict):
        fields["headers"] = {
            name: _resolved(f"headers.{name}", value, folder, environ, problems) for name, value in headers.items()
        }
    if problems:
        raise SettingsError(problems)
    return fields


def _resolved(key: str, value: object, folder: Path, environ: Mapping[str, str], problems: list[str]) -> object:
    kind, _, place = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "env":
        if found := environ.get(place, ""):
            return found
        problems.append(f"{key}: the environment variable {place} is not set")
    elif kind == "file":
        try:
            with (folder / Path(place).expanduser()).open("rb") as file:
                text = file.read(MAX_SECRET_BYTES).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            problems.append(f"{key}: cannot read {place}: {reason}")
        else:
            if text:
                return text
            problems.append(f"{key}: {place} is empty")
    return value


def secrets_in(channels: Iterable[BaseModel]) -> list[str]:
    """Returns every string of the channels that must not be printed: secrets, addresses, and parts of addresses."""
    found: set[str] = set()
    for channel in channels:
        for key, value in channel:
            values = value.values() if isinstance(value, dict) else [value]
            for secret in values:
                if isinstance(secret, SecretStr):
                    text = secret.get_secret_value()
                    found |= _parts_of(text) if key == "url" else {text}
    return sorted({form for secret in found for form in (secret, unquote(secret), quote(secret, safe="")) if form})


def _parts_of(url: str) -> set[str]:
    """Returns an address, and what of it may be secret: credentials, and long parts of path and query."""
    parts = urlsplit(url)
    values = [pair.rpartition("=")[2] for pair in parts.query.split("&")]
    words = [*parts.path.split("/"), *values, *map(unquote_plus, values)]
    # Some services of apprise have a token in the place of the host. A name with a dot is a host.
    if parts.scheme not in ("http", "https"):
        words += [part for part in parts.netloc.rpartition("@")[2].split(":") if "." not in part]
    credentials = [text for text in parts.netloc.rpartition("@")[0].split(":") if text]
    path = parts.path.strip("/")
    return {url, *credentials, *(word for word in [*words, path, parts.query] if len(word) >= _SHORTEST_PART)}
