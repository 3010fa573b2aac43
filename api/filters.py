"""Filters of requests whose values are known: a value that can match nothing is an error, not an empty answer."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi.exceptions import RequestValidationError


def refuse_unknown(parameter: str, value: object, known: Iterable[object], reason: str) -> None:
    """Refuse the value of a query parameter that nothing was found for, unless it is one of those in use.

    Call it only after nothing was found: tables keep what an earlier model or an earlier setting has written.

    Args:
        parameter: The name of the parameter.
        value: Its value; None if the request has none.
        known: The values in use.
        reason: What no other value has, such as "no served model has this label".

    Raises:
        RequestValidationError: The value is not in use. The message names those that are.
    """
    values = list(dict.fromkeys(known))
    if value is not None and value not in values:
        message = f"{reason}; known are {', '.join(map(str, values))}"
        raise RequestValidationError([{"loc": ("query", parameter), "msg": message, "type": "unknown_value"}])
