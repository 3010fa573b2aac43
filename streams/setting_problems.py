"""Says in plain words what is wrong with settings, without their values, which may be secrets. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_PLAIN = {
    "int_parsing": "not a whole number",
    "int_from_float": "not a whole number",
    "float_parsing": "not a number",
    "bool_parsing": "neither true nor false",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "neither true nor false",
    "int_type": "not a whole number",
    "float_type": "not a number",
    "string_type": "not a text",
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "literal_error": "must be {expected}",
    "string_too_long": "has more than {max_length} characters",
    "string_pattern_mismatch": "must match the regular expression {pattern}",
}
"""Pydantic's types of errors in the words of our own messages."""


def problems_of(error: ValidationError, prefix: str) -> list[str]:
    """Returns a line for each setting that is wrong; `prefix` begins the names of settings."""
    lines = []
    for each in error.errors(include_input=False, include_url=False):
        problem = problem_of(each)
        lines.append(f"{prefix}{str(each['loc'][0]).upper()}: {problem}" if each["loc"] else problem)
    return lines


def problem_of(error: ErrorDetails) -> str:
    """Returns what is wrong with one value, without the value."""
    context = error.get("ctx", {})
    limits = {name: f"{limit:.12g}" if isinstance(limit, float) else limit for name, limit in context.items()}
    plain = _PLAIN.get(error["type"])
    return error["msg"].removeprefix("Value error, ") if plain is None else plain.format(**limits)


def unknown(name: str, known: Sequence[str]) -> str:
    """Returns the line for a name that is no setting, with the known name that is most like it."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else "")
