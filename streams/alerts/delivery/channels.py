"""The channels file: who is told of incidents, and how. Reading it needs no network and no client library.

A file has a table `[channels.NAME]` for each channel. It is the only place of the channels' secrets: addresses with
tokens, keys of signatures, and passwords. An error names the key and the line, and never the value.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, model_validator
from pydantic import ValidationError as PydanticError

from streams.alerts.delivery.channel_secrets import secrets_in, with_secrets
from streams.alerts.rules.rule import ChannelName
from streams.alerts.text_file import read_text
from streams.errors import SettingsError
from streams.process.listening import is_loopback
from streams.setting_problems import problem_of
from streams.setting_types import SecretKey

MAX_FILE_BYTES: Final = 1_000_000
MAX_CHANNELS: Final = 50
"""The most channels: a rule names at most so many."""

_MAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:.]{2,45}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_NOT_IN_URLS: Final = re.compile(r"[^\x21-\x7e]")
_OWN_HEADERS: Final = frozenset({"content-type", "content-length", "host", "idempotency-key", "x-emostream-signature"})


def _mail_address(text: str) -> str:
    if _MAIL.fullmatch(text) is None:
        raise ValueError("not an address of ASCII characters, such as alerts@example.com")
    return text


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError("not the name or the address of a host")
    return text


MailAddress = Annotated[str, AfterValidator(_mail_address)]


class _Channel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    timeout_s: float = Field(15.0, ge=1, le=60, strict=False)
    per_minute: int = Field(30, ge=1, le=6_000)


class WebhookChannel(_Channel):
    """A receiver of JSON. `secret` signs the requests, and `picture` adds the chart to them."""

    type: Literal["webhook"]
    url: SecretStr
    secret: SecretKey | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict, max_length=20)
    picture: bool = False
    allow_http: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_url(self.url, allow_http=self.allow_http)
        if any(_HEADER.fullmatch(name) is None for name in self.headers):
            raise ValueError("headers: a name has letters, digits and '-'")
        if own := sorted(name for name in self.headers if name.lower() in _OWN_HEADERS):
            raise ValueError(f"headers: {own[0]} is set by emostream")
        if any(re.search(r"[^\x20-\x7e]", value.get_secret_value()) for value in self.headers.values()):
            raise ValueError("headers: a value has a character that a header cannot have")
        return self


class SlackChannel(_Channel):
    """An incoming webhook of Slack, or of a server that takes the same."""

    type: Literal["slack"]
    url: SecretStr
    allow_http: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_url(self.url, allow_http=self.allow_http)
        return self


class EmailChannel(_Channel):
    """A mail server. `port` is by default the usual one of `tls`."""

    type: Literal["email"]
    host: Annotated[str, AfterValidator(_host)]
    port: int | None = Field(None, ge=1, le=65_535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Annotated[Path, Field(strict=False)] | None = None
    user: SecretStr | None = None
    password: SecretStr | None = None
    sender: MailAddress = Field(alias="from")
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=100, strict=False)]
    picture: bool = True
    allow_plain: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("give both user and password, or neither")
        if self.tls == "none" and not self.allow_plain and not is_loopback(self.host):
            raise ValueError("tls: without encryption only to this machine, unless allow_plain = true")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ValueError("ca_file: no such file")
        return self


class AppriseChannel(_Channel):
    """A service that apprise knows, by apprise's address of it."""

    type: Literal["apprise"]
    url: SecretStr
    picture: bool = False
    allow_http: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        from connectors.notify.services import host_of, is_encrypted  # noqa: PLC0415 - takes long

        url = self.url.get_secret_value()
        try:
            plain = not is_encrypted(url) and not is_loopback(host_of(url))
        except ValueError as exc:
            raise ValueError(f"url: {exc}") from None
        if plain and not self.allow_http:
            raise ValueError("url: without encryption only to this machine, unless allow_http = true")
        return self


Channel = Annotated[WebhookChannel | SlackChannel | EmailChannel | AppriseChannel, Field(discriminator="type")]

_CHANNEL: Final[TypeAdapter[Channel]] = TypeAdapter(Channel)
_NAME: Final[TypeAdapter[str]] = TypeAdapter(ChannelName)
_TYPES: Final = ("webhook", "slack", "email", "apprise")


def _check_url(url: SecretStr, *, allow_http: bool) -> None:
    try:
        parts = urlsplit(url.get_secret_value())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or _NOT_IN_URLS.search(url.get_secret_value()):
        raise ValueError("url: not an address; give https://host[:port]/…")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ValueError("url: http:// only to this machine, unless allow_http = true")


def read_channels(path: Path | None, environ: Mapping[str, str] | None = None) -> dict[str, Channel]:
    """Read the channels file.

    Args:
        path: the file; None for no channels.
        environ: the environment that `env:NAME` refers to; None for that of this process.

    Returns:
        The channels by name, in the order of the file.

    Raises:
        SettingsError: The file cannot be read, or a channel cannot be used. There is a line for each problem.
    """
    if path is None:
        return {}
    text = read_text(path, MAX_FILE_BYTES)
    tables = _tables(path, text)
    lines, problems, channels = text.splitlines(), [], {}
    for name, table in tables.items():
        try:
            channels[name] = _channel(name, table, path.parent, os.environ if environ is None else environ)
        except SettingsError as exc:
            for problem in exc.problems:
                line = _line_of(lines, name, re.split("[:.]", problem)[0])
                problems.append(f"{path}:{line}: [channels.{name}] {problem}")
    if problems:
        raise SettingsError(problems)
    return channels


def read_channel_types(path: Path | None) -> dict[str, str]:
    """Returns the types of the channels by name, in the order of the file. No secret of them needs to be there.

    Args:
        path: the file; None for no channels.

    Raises:
        SettingsError: The file cannot be read. The channels themselves are not checked.
    """
    if path is None:
        return {}
    tables = _tables(path, read_text(path, MAX_FILE_BYTES)).items()
    return {name: str(table.get("type")) for name, table in tables if isinstance(table, dict)}


def _tables(path: Path, text: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # The message itself may quote a part of the file.
        place = re.search(r"\(at (line \d+), column \d+\)", str(exc))
        raise SettingsError([f"{path}: is not TOML: {place[1] if place else 'its end'} cannot be read"]) from None
    tables = content.get("channels")
    if not isinstance(tables, dict) or set(content) != {"channels"}:
        raise SettingsError([f"{path}: has tables [channels.NAME] and nothing else"])
    if len(tables) > MAX_CHANNELS:
        raise SettingsError([f"{path}: has {len(tables)} channels; {MAX_CHANNELS} are allowed"])
    return tables


def _channel(name: str, table: object, folder: Path, environ: Mapping[str, str]) -> Channel:
    if not isinstance(table, dict):
        raise SettingsError(["each channel is a table"])
    try:
        _NAME.validate_python(name)
    except PydanticError:
        raise SettingsError(["the name has lower-case letters, digits, '_' and '-', at most 63"]) from None
    if table.get("type") not in _TYPES:
        raise SettingsError([f"type: must be one of {', '.join(_TYPES)}"])
    fields: dict[str, Any] = with_secrets(table, folder, environ)
    try:
        return _CHANNEL.validate_python(fields)
    except PydanticError as exc:
        raise SettingsError(_problems(exc)) from None


def _problems(error: PydanticError) -> list[str]:
    """Returns a line for each key that is wrong. In pydantic's path of a key, the type of the channel is first."""
    lines = []
    for each in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in each["loc"][1:])
        lines.append(f"{key}: {problem_of(each)}" if key else problem_of(each))
    return lines


def _line_of(lines: list[str], name: str, key: str) -> int:
    """Returns the number of the line of a key in the table of a channel; that of the table if the key has none."""
    quoted = f"[\"']?{re.escape(name)}[\"']?"
    table = re.compile(rf"\s*\[\s*channels\s*\.\s*{quoted}\s*(\]|\.)")
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]|\s*\[.*\.\s*[\"']?{re.escape(key)}[\"']?\s*\]")
    found, inside = 1, False
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("["):
            inside = table.match(line) is not None
            if inside and found == 1:
                found = number
        if inside and wanted.match(line):
            return number
    return found


def secrets_of(channels: Mapping[str, Channel]) -> list[str]:
    """Returns every string of the channels that must not be printed, for `streams.redact.remember_secrets`."""
    return secrets_in(channels.values())
