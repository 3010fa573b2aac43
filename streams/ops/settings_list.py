"""Every setting with its value, its default and what it is for; secrets are masked."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from streams.setting_types import MASK, Address
from streams.settings import PREFIX, Settings


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
        default = format_value(field.get_default(call_default_factory=True, validated_data={}))
        value = default if current is None else format_value(getattr(current, name))
        listed.append(Entry(PREFIX + name.upper(), value, default, _description(field)))
    return listed


def format_value(value: Any) -> str:  # noqa: ANN401 - a setting of any type
    """A value as one would write it in the environment, with secrets masked."""
    match value:
        case None:
            return ""
        case Address():
            return value.masked()
        case SecretStr():
            return MASK if value else ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


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
