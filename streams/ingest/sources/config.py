"""Which sources a process runs: the arguments of the command, and the file sources.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streams.errors import InputError
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.sources.backoff import BackoffLimits

MAX_CONFIG_BYTES = 1_000_000

_INSTANCE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,49}")
_COMMON = ("source", "endpoint", "keywords", "allow_private", "rate", "backoff_s", "backoff_max_s")


@dataclass(frozen=True)
class SourceSpec:
    """One source to run.

    Attributes:
        instance: its name, under which its position is stored. Two processes with one instance do not run it twice.
        kind: the kind of source, such as `bluesky`.
        endpoints: addresses to use instead of the network's own; none for those.
        keywords: the words of which a post must contain one; none to keep every post.
        allow_private: whether it may connect to private and loopback addresses.
        rate: the most posts a second that are sent; None for no limit.
        backoff: how long it waits after errors.
        options: further options of this kind of source.
    """

    instance: str
    kind: str
    endpoints: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    allow_private: bool = False
    rate: float | None = None
    backoff: BackoffLimits = field(default_factory=BackoffLimits)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what no file and no argument may contain.

        Raises:
            InputError: A name, an address, a keyword or a rate cannot be used.
        """
        where = f"source {self.instance!r}"
        if _INSTANCE.fullmatch(self.instance) is None:
            raise InputError(f"{where}: a name has lower-case letters, digits, '.', '_' and '-', at most 50")
        for endpoint in self.endpoints:
            check_endpoint(endpoint, where)
        for number, keyword in enumerate(self.keywords, start=1):
            try:
                parse_keyword(keyword)
            except ValueError as exc:
                raise InputError(f"{where}: keyword {number}: {exc}") from None
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise InputError(f"{where}: the rate must be above 0")
        if not 0 < self.backoff.first_s <= self.backoff.most_s < float("inf"):
            raise InputError(f"{where}: backoff_s must be above 0, and at most backoff_max_s")


def check_endpoint(endpoint: str, where: str) -> None:
    """Check the address of a server.

    Raises:
        InputError: It is no address of HTTP or WebSocket, or has credentials in it. The message begins with `where`.
    """
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname)
        _ = parts.port  # reading it checks it
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{where}: an endpoint is an address that begins with http://, https://, ws:// or wss://")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{where}: an endpoint has no credentials in it; they come from the environment")


def read_config(path: Path, kinds: Mapping[str, frozenset[str]]) -> dict[str, SourceSpec]:
    """Read sources.toml: a table for each source, whose name is the instance.

    Args:
        path: the file.
        kinds: the kinds of sources, and the options of each.

    Returns:
        The sources by instance, in the order of the file.

    Raises:
        InputError: The file cannot be read, or an entry cannot be used.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > MAX_CONFIG_BYTES:
        raise InputError(f"{path} is longer than {MAX_CONFIG_BYTES:,} bytes")
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise InputError(f"{path} is not TOML: {exc}") from exc
    if not tables:
        raise InputError(f"{path} names no source")
    return {instance: _spec(path, instance, table, kinds) for instance, table in tables.items()}


def _spec(path: Path, instance: str, table: Any, kinds: Mapping[str, frozenset[str]]) -> SourceSpec:  # noqa: ANN401
    where = f"{path}: [{instance}]"
    if not isinstance(table, dict):
        raise InputError(f"{where}: each source is a table")
    kind = table.get("source", instance)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{where}: there is no source {kind!r}; there are {', '.join(sorted(kinds))}")
    if unknown := sorted(set(table) - set(_COMMON) - kinds[kind]):
        known = ", ".join([*_COMMON, *sorted(kinds[kind])])
        raise InputError(f"{where}: {unknown[0]!r} is no option of {kind}; there are {known}")
    backoff = BackoffLimits()
    first_s = _number(where, table, "backoff_s", backoff.first_s)
    most_s = _number(where, table, "backoff_max_s", max(backoff.most_s, first_s))
    return SourceSpec(
        instance=instance,
        kind=kind,
        endpoints=_texts(where, table, "endpoint"),
        keywords=_texts(where, table, "keywords"),
        allow_private=flag(where, table, "allow_private"),
        rate=_number(where, table, "rate", None),
        backoff=replace(backoff, first_s=first_s, most_s=most_s),
        options={name: table[name] for name in sorted(kinds[kind]) if name in table},
    )


def _texts(where: str, table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = table.get(name, ())
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise InputError(f"{where}: {name} is a string, or a list of strings")
    return tuple(items)


def flag(where: str, table: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Returns an option that is true or false; the default if it is not given.

    Raises:
        InputError: It is neither. The message begins with `where`.
    """
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{where}: {name} is true or false")
    return value


def _number(where: str, table: Mapping[str, Any], name: str, default: Any) -> Any:  # noqa: ANN401 - a float, or None
    value = table.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InputError(f"{where}: {name} is a number")
    return None if value is None else float(value)
