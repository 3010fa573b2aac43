"""Errors as problem documents (RFC 9457): one shape for every error of the HTTP service.

A document has `type`, `title`, `status` and `detail`. `type` is `about:blank` where the status says everything, and
otherwise a relative reference that names the kind of problem. Validation errors also have `errors`, a list of `where`
and `what`.
"""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from connectors.errors import ConnectorError, most_specific
from models.errors import ModelError, OverloadedError, RequestTooLargeError
from streams.access.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from streams.errors import DeadlineExceededError, EmostreamError
from streams.query.errors import QuestionError
from streams.redact import redact

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_S = 2.0
"""Seconds after which a client may try again, where nothing better is known."""

_SHOWN_ERRORS = 20
"""The most validation errors that a document lists."""


class ProblemError(Exception):
    """An error with its HTTP status.

    Attributes:
        status: the HTTP status.
        detail: one sentence for the caller.
        kind: names the kind of problem in `type`; None for `about:blank`.
        retry_after_s: the seconds of the header `Retry-After`; None for no header.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        kind: str | None = None,
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.headers = headers or {}


def problem_response(error: ProblemError, **members: Any) -> Response:  # noqa: ANN401 - members of a JSON object
    """Returns the answer to an error. `members` are further members of the document."""
    document = {
        "type": f"/problems/{error.kind}" if error.kind else "about:blank",
        "title": error.status.phrase,
        "status": error.status.value,
        # The message of a server's error may contain an address with its password.
        "detail": redact(error.detail),
        **members,
    }
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return JSONResponse(document, error.status.value, headers, MEDIA_TYPE)


async def send_problem(error: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer to an error from a middleware."""
    await problem_response(error)(scope, receive, send)


class _Meaning(NamedTuple):
    """What an error means to the caller: the HTTP status, and the kind of problem."""

    status: HTTPStatus
    kind: str | None = None


_UNAVAILABLE = _Meaning(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")

_MEANINGS: dict[type[Exception], _Meaning] = {
    UnauthenticatedError: _Meaning(HTTPStatus.UNAUTHORIZED),
    ForbiddenError: _Meaning(HTTPStatus.FORBIDDEN),
    RateLimitedError: _Meaning(HTTPStatus.TOO_MANY_REQUESTS, "rate-limited"),
    QuestionError: _Meaning(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request"),
    RequestTooLargeError: _Meaning(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    OverloadedError: _Meaning(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
    DeadlineExceededError: _Meaning(HTTPStatus.GATEWAY_TIMEOUT, "deadline-exceeded"),
    ConnectorError: _UNAVAILABLE,
    ModelError: _UNAVAILABLE,
    EmostreamError: _UNAVAILABLE,
}
"""By class. A class stands for its subclasses that have no entry of their own."""


def problem_of(exc: Exception) -> ProblemError | None:
    """Returns what an error means to the caller; None if it is a defect of the service."""
    if isinstance(exc, ProblemError):
        return exc
    if isinstance(exc, HTTPException):
        return ProblemError(HTTPStatus(exc.status_code), str(exc.detail), headers=dict(exc.headers or {}))
    meaning = most_specific(_MEANINGS, exc)
    if meaning is None:
        return None
    usual = RETRY_AFTER_S if meaning.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return ProblemError(
        meaning.status,
        str(exc),
        kind=meaning.kind,
        retry_after_s=getattr(exc, "retry_after_s", usual),
        headers={"WWW-Authenticate": "Bearer"} if meaning.status == HTTPStatus.UNAUTHORIZED else None,
    )


def install(app: FastAPI) -> None:
    """Let the app answer every error with a problem document."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    for kind in (ProblemError, HTTPException, ConnectorError, ModelError, EmostreamError):
        app.add_exception_handler(kind, _on_problem)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_defect)


async def answer_to(request: Request, exc: Exception) -> Response | None:
    """Returns the answer to an error that a handler raises; None if it is a defect of the service."""
    if isinstance(exc, RequestValidationError):
        return await _on_invalid(request, exc)
    if isinstance(exc, ClientDisconnect):
        return await _on_gone(request, exc)
    return None if problem_of(exc) is None else await _on_problem(request, exc)


async def _on_problem(_request: Request, exc: Exception) -> Response:
    problem = problem_of(exc)
    assert problem is not None  # noqa: S101 - for the type checker
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE and not isinstance(exc, ProblemError | OverloadedError):
        logger.warning("a request failed: %s", exc)
    return problem_response(problem)


async def _on_invalid(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - for the type checker
    found = exc.errors()
    errors = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in found[:_SHOWN_ERRORS]]
    first = errors[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    detail = f"{first['where']}: {first['what']}{more}"
    return problem_response(
        ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, kind="invalid-request"), errors=errors
    )


async def _on_gone(_request: Request, _exc: Exception) -> Response:
    """The client has gone before its request was whole. Nobody gets this answer; proxies count it as 499."""
    return Response(status_code=499)


async def _on_defect(_request: Request, _exc: Exception) -> Response:
    """A defect of the service. The web server logs the stack trace; the caller learns nothing of it."""
    return problem_response(
        ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the service has a defect; its log has the stack trace")
    )
