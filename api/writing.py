"""Routes that change something: of whom they accept it, and under which condition.

A service without authentication accepts requests of loopback names only, but a page of any origin can send it some
kinds of requests, although it may not read the answers. So these routes refuse the origins of other pages, and bodies
that a page may send without asking first (CORS).

Two callers that change the same thing do not undo each other's change, if they say which revision they have seen: with
`If-Match` (412 if there is another one), or with the parameter `revision` (409).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.guarded import GuardedRoute, Handler, admit, check_type, read_headers
from api.origins import may_connect
from api.problems import ProblemError

_WITH_BODY = frozenset({"POST", "PUT"})
_BODY_HEADERS = frozenset({b"content-type", b"content-encoding"})

_TAG = re.compile(r'(?:W/)?"(\d{1,18})"', re.ASCII)


class WritingRoute(GuardedRoute):
    """A guarded route that changes something."""

    def get_route_handler(self) -> Handler:
        """Returns the handler of the base class, after a check of the origin and of the type of the body."""
        answer, needed = super(GuardedRoute, self).get_route_handler(), self.needed

        async def handler(request: Request) -> Response:
            await admit(request, needed)
            if not may_connect(request, request.app.state.resources.settings.api_cors_origins):
                raise ProblemError(HTTPStatus.FORBIDDEN, "pages of this origin may not change anything")
            if request.method in _WITH_BODY:
                check_type(read_headers(request.scope, _BODY_HEADERS))
            return await answer(request)

        return handler


def etag_of(revision: int) -> str:
    """Returns the ETag of what has revisions."""
    return f'"{revision}"'


def has_revision(header: str | None, revision: int) -> bool:
    """Returns whether `If-None-Match` or `If-Match` names a revision, or any with `*`.

    Proxies make the ETag of a compressed answer weak, so a weak one is as good.
    """
    if header is None:
        return False
    parts = [part.strip() for part in header.split(",")]
    return any(part == "*" or ((tag := _TAG.fullmatch(part)) and int(tag[1]) == revision) for part in parts)


def precondition(request: Request, revision: int | None) -> Callable[[int], None]:
    """Returns a function that checks the current revision of what a request changes; 0 stands for none.

    Args:
        request: The request, with `If-Match` or `If-None-Match: *`, or without both.
        revision: The revision that the caller has seen, 0 for none; None if it does not say.
    """
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")

    def check(current: int) -> None:
        there = f"is in revision {current}" if current else "does not exist"
        if match is not None and not (current and has_revision(match, current)):
            raise _changed(HTTPStatus.PRECONDITION_FAILED, f"If-Match: it {there}", current)
        if none_match is not None and current and has_revision(none_match, current):
            raise _changed(HTTPStatus.PRECONDITION_FAILED, f"If-None-Match: it {there}", current)
        if revision is not None and revision != current:
            raise _changed(HTTPStatus.CONFLICT, f"revision: somebody else changed it: it {there}", current)

    return check


def _changed(status: HTTPStatus, detail: str, current: int) -> ProblemError:
    headers: dict[str, Any] = {"ETag": etag_of(current)} if current else {}
    return ProblemError(status, f"{detail}; read it again", kind="changed-meanwhile", headers=headers)
