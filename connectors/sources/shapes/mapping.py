"""Posts in JSON of any shape: a JMESPath expression for each field. Pure.

JMESPath is described at jmespath.org. Two functions are added: `html_text(content)` is the text of HTML, and
`unescaped(text)` replaces character references such as `&amp;`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes import markup
from connectors.sources.shapes.fields import FIELDS, is_removed, post_fields
from connectors.sources.shapes.values import unreadable

_LONGEST: Final = 1_000
"""The most characters of an expression."""

_FROM_FIRST: Final = frozenset(
    {"filter_projection", "flatten", "index_expression", "pipe", "projection", "subexpression", "value_projection"}
)
"""Expressions of which the first part alone is applied to the document."""


class _Functions(functions.Functions):
    """The functions of JMESPath, and those for markup."""

    @functions.signature({"types": ["string", "null"]})
    def _func_html_text(self, content: str | None) -> str | None:
        return None if content is None else markup.html_text(content)

    @functions.signature({"types": ["string", "null"]})
    def _func_unescaped(self, text: str | None) -> str | None:
        return None if text is None else markup.unescaped(text)


_OPTIONS: Final = jmespath.Options(custom_functions=_Functions())


@dataclass(frozen=True)
class FieldMap:
    """Where the fields of a post are in a JSON document.

    Attributes:
        expressions: a JMESPath expression for each field of `FIELDS` that is not the member of its own name.
    """

    expressions: Mapping[str, ParsedResult]

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> FieldMap:
        """Read the expressions of fields.

        Raises:
            ValueError: A name is not a field, or a text is not a JMESPath expression.
        """
        for name in given:
            if name not in FIELDS:
                raise ValueError(f"a post has no field {name!r}; its fields are {', '.join(FIELDS)}")
        return cls({name: _compiled(expression) for name, expression in given.items()})

    @property
    def names(self) -> dict[str, str]:
        """The fields whose expression is a name only, such as `Tweet` or `"Tweet text"`, and these names."""
        return {
            field: expression.parsed["value"]
            for field, expression in self.expressions.items()
            if expression.parsed["type"] == "field"
        }

    @property
    def roots(self) -> frozenset[str]:
        """The names of all members of a document that the expressions read."""
        return frozenset().union(*(_roots(expression.parsed) for expression in self.expressions.values()))

    def mapped(self, document: object) -> dict[str, object]:
        """Returns the fields that have an expression, with its value in the document. It may be None.

        Raises:
            ValueError: A function of an expression cannot be applied to what is in the document.
        """
        found: dict[str, object] = {}
        for name, expression in self.expressions.items():
            try:
                found[name] = expression.search(document, _OPTIONS)
            except (ValueError, TypeError, ArithmeticError, RecursionError):  # `JMESPathError` is a ValueError
                # The library's message quotes the document.
                raise ValueError(f"{name}: the expression cannot be applied to this record") from None
        return found

    def values(self, document: Mapping[str, object]) -> dict[str, object]:
        """Returns all fields in a JSON object. A field without an expression is the member of its own name.

        Raises:
            ValueError: A function of an expression cannot be applied to what is in the document.
        """
        own = {name: document[name] for name in FIELDS if name in document and name not in self.expressions}
        return own | self.mapped(document)

    def event_of(
        self,
        document: object,
        *,
        default_id: str | None = None,
        zone: tzinfo | None = None,
        received_at: datetime | None = None,
    ) -> SourceEvent:
        """Returns the post of a JSON document; `SourceSkipped` with the reason if it is not a post.

        The field `source` is not used.

        Args:
            document: the parsed JSON.
            default_id: the id of a post whose document has none; it must be the same whenever the document is read.
            zone: the zone of times that state none; None to refuse them.
            received_at: when the document was received, aware. A post is not later than that, and has this time if
                its document has none.
        """
        if not isinstance(document, Mapping):
            return unreadable("the record is not a JSON object")
        try:
            values = self.values(document)
            fields: dict[str, Any] = post_fields(values, zone)
        except ValueError as exc:
            return unreadable(str(exc))
        text, post_id = values.get("text"), fields.get("id", default_id)
        times = [time for time in (fields.get("created_at"), received_at) if time is not None]
        if not isinstance(text, str) or post_id is None or not times:
            return unreadable("the record has no text, no id or no time")
        if not text.strip():
            return SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the text is empty")
        if is_removed(text):
            return SourceSkipped(reason=SkipReason.REMOVED, detail="the text says that the post was removed")
        own = {name: fields[name] for name in ("author", "lang", "url", "keywords") if name in fields}
        return SourcePost(id=post_id, text=text, created_at=min(times), **own)


def _compiled(expression: str) -> ParsedResult:
    if len(expression) > _LONGEST:
        raise ValueError(f"an expression has {len(expression)} characters; {_LONGEST} are allowed")
    try:
        return jmespath.compile(expression)
    except (JMESPathError, RecursionError):
        quoted = '"' + expression.replace("\\", "\\\\").replace('"', '\\"') + '"'
        raise ValueError(
            f"{expression!r} is not a JMESPath expression, such as commit.record.text; a name with blanks or other "
            f"signs in it needs double quotes: {quoted}"
        ) from None


def _roots(node: Mapping[str, Any]) -> frozenset[str]:
    if node["type"] == "field":
        return frozenset({node["value"]})
    children: Iterable[Mapping[str, Any]] = node.get("children") or ()
    if node["type"] in _FROM_FIRST:
        children = list(children)[:1]
    return frozenset().union(*map(_roots, children))
