"""Lists every setting with its value, its default and its description. Secrets are masked."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from streams.setting_types import MASK, PREFIX, Address
from streams.settings import Settings


class Entry(NamedTuple):
    """A setting as it is shown. An empty `value` or `default` stands for no value."""

    name: str
    value: str
    default: str
    description: str


def entries(current: Settings | None) -> list[Entry]:
    """Returns every setting, in the order of `Settings`.

    Args:
        current: the settings with the values; None for the defaults.
    """
    listed = []
    for name, field in Settings.model_fields.items():
        default = format_value(field.get_default(call_default_factory=True, validated_data={}))
        value = default if current is None else format_value(getattr(current, name))
        listed.append(Entry(PREFIX + name.upper(), value, default, _description(field)))
    return listed


def format_value(value: Any) -> str:  # noqa: ANN401 - a setting of any type
    """Returns a value as it is written in an environment variable, with secrets masked."""
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
    """Returns the names, defaults and descriptions of settings as a Markdown table."""
    lines = ["| Setting | Default | Description |", "|---|---|---|"]
    for entry in listed:
        default = f"`{entry.default}`" if entry.default else "none"
        description = entry.description.replace("|", r"\|")
        lines.append(f"| `{entry.name}` | {default} | {description} |")
    return "\n".join(lines)


def _description(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())
