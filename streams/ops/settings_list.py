"""Every setting with its value, its default and what it is for; secrets are masked."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from streams.settings import PREFIX, Settings

MASK = "***"
_QUERY_PASSWORD = re.compile(r"(?<=password=)[^&]*")


class Entry(NamedTuple):
    """A setting as it is shown; secrets are masked. An empty string is no value."""

    name: str
    value: str
    default: str
    description: str


def entries(current: Settings | None) -> list[Entry]:
    """Every setting, in the order of the class.

    Args:
        current: where the values are from; None shows the defaults as values.
    """
    listed = []
    for name, field in Settings.model_fields.items():
        default = shown(field.get_default(call_default_factory=True, validated_data={}))
        value = default if current is None else shown(getattr(current, name))
        listed.append(Entry(PREFIX + name.upper(), value, default, _description(field)))
    return listed


def shown(value: Any) -> str:  # noqa: ANN401 - a setting of any type
    """A value as one would write it in the environment, with secrets masked."""
    match value:
        case None:
            return ""
        case SecretStr():
            secret = value.get_secret_value()
            return mask_address(secret) if "://" in secret else MASK if secret else ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def mask_address(address: str) -> str:
    """An address with the passwords in it masked: that of the user, and those among its parameters."""
    parts = urlsplit(address)
    netloc = parts.netloc
    if parts.password is not None:
        credentials, _, host = netloc.rpartition("@")
        netloc = f"{credentials.partition(':')[0]}:{MASK}@{host}"
    return urlunsplit(parts._replace(netloc=netloc, query=_QUERY_PASSWORD.sub(MASK, parts.query)))


def markdown_table(listed: list[Entry]) -> str:
    """Names, defaults and descriptions as a Markdown table."""
    lines = ["| Setting | Default | What it is for |", "|---|---|---|"]
    for entry in listed:
        default = f"`{entry.default}`" if entry.default else "none"
        description = entry.description.replace("|", r"\|")
        lines.append(f"| `{entry.name}` | {default} | {description} |")
    return "\n".join(lines)


def _description(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())
