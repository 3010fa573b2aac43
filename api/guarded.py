"""Routes that admit a caller before they answer, and read and write JSON without FastAPI's steps in between.

FastAPI solves the dependencies of a request anew each time, and validates the answer after the body was parsed into
Python objects. That costs more than an answer from the cache. So the handler of these routes does four steps of its
own:

1. admit the caller;
2. read the body, and validate it from its bytes;
3. call the endpoint with the body and the resources;
4. write the answer.

The documentation comes from the signature of the endpoint, as for any other route.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, get_type_hints

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive
from starlette.types import Scope as AsgiScope

from api.origins import is_loopback_name
from api.problems import ProblemError
from api.resources import Resources
from api.responses import JsonBytes
from streams.access.caller import Caller
from streams.access.scopes import Scope

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

DirectHandler = Callable[[AsgiScope, Receive], Coroutine[Any, Any, Response]]
"""Returns the answer to a request, of which it has the ASGI scope and what receives the body."""

SECURITY_SCHEMES = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer (JWT)."},
}
"""How a caller authenticates, for the OpenAPI document."""

_SECURITY: dict[str, Any] = {"security": [{name: []} for name in SECURITY_SCHEMES]}


_ADMISSION_HEADERS = frozenset({b"host", b"authorization", b"x-api-key"})
_BODY_HEADERS = _ADMISSION_HEADERS | {b"content-type", b"content-encoding"}


def read_headers(scope: AsgiScope, names: frozenset[bytes]) -> dict[bytes, str]:
    """Returns some headers of a request by their names; the values of a repeated one are joined by commas."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in names:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return found


async def admit(connection: HTTPConnection, scope: Scope) -> Caller:
    """Admit the caller of a request or a WebSocket.

    Raises:
        ProblemError: The service needs no credentials, and a page that is not its own may have sent the request.
        AccessError: The credentials are missing or not accepted, lack the scope, or have sent too many requests.
        UnavailableError: Nobody knows now whether the credentials are valid.
    """
    return await _admit(connection.app.state.resources, read_headers(connection.scope, _ADMISSION_HEADERS), scope)


async def _admit(resources: Resources, headers: dict[bytes, str], scope: Scope) -> Caller:
    access = resources.access
    if not access.required and not resources.settings.api_allow_open:
        hosts = headers.get(b"host")
        if hosts is not None and not all(map(is_loopback_name, hosts.split(","))):
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "without authentication the service answers to loopback names only"
            )
    return await access.admit(headers.get(b"authorization"), headers.get(b"x-api-key"), scope)


async def still_admitted(connection: HTTPConnection, scope: Scope) -> bool:
    """Returns whether the caller of an open stream may still have it: its key may have been revoked meanwhile."""
    resources: Resources = connection.app.state.resources
    headers = read_headers(connection.scope, _ADMISSION_HEADERS)
    return await resources.access.still_admits(headers.get(b"authorization"), headers.get(b"x-api-key"), scope)


class GuardedRoute(APIRoute):
    """A route that needs a scope. `needing` makes the class for each scope."""

    needed: Scope

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - FastAPI's
        """Create the route; its documentation says how a caller authenticates."""
        options["openapi_extra"] = {**(options.get("openapi_extra") or {}), **_SECURITY}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """Returns FastAPI's handler, after step 1."""
        answer, needed = super().get_route_handler(), self.needed

        async def handler(request: Request) -> Response:
            await admit(request, needed)
            return await answer(request)

        return handler


class DirectRoute(GuardedRoute):
    """A guarded route with a body, whose endpoint takes the body and the resources, in this order.

    The endpoint returns a pydantic model, or an answer that is written already.
    """

    def get_route_handler(self) -> Handler:
        """Returns the handler for the router."""
        handler = self.direct_handler()

        async def from_request(request: Request) -> Response:
            return await handler(request.scope, request.receive)

        return from_request

    def direct_handler(self) -> DirectHandler:
        """Returns the handler of the four steps."""
        endpoint, needed = self.endpoint, self.needed
        first = next(iter(inspect.signature(endpoint).parameters))
        body: TypeAdapter[BaseModel] = TypeAdapter(get_type_hints(endpoint)[first])

        async def handler(scope: AsgiScope, receive: Receive) -> Response:
            resources: Resources = scope["app"].state.resources
            # Step 1: admit the caller.
            headers = read_headers(scope, _BODY_HEADERS)
            await _admit(resources, headers, needed)
            # Step 2: read the body, and validate it.
            check_type(headers)
            try:
                value = body.validate_json(await _read_body(receive))
            except ValidationError as exc:
                errors = [{**one, "loc": ("body", *one["loc"])} for one in exc.errors(include_context=False)]
                raise RequestValidationError(errors) from None
            # Step 3: call the endpoint.
            answer = await endpoint(value, resources)
            # Step 4: write the answer.
            return answer if isinstance(answer, Response) else JsonBytes(answer.__pydantic_serializer__.to_json(answer))

        return handler


def check_type(headers: dict[bytes, str]) -> None:
    """Check that the body is JSON and not compressed.

    Raises:
        ProblemError: It is not.
    """
    if headers.get(b"content-type", "").partition(";")[0].strip().lower() != "application/json":
        # A page of any origin can send other types without asking the service first (CORS).
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    if headers.get(b"content-encoding", "identity").strip().lower() != "identity":
        # Some bytes can be gigabytes when they are decompressed.
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed")


async def _read_body(receive: Receive) -> bytes:
    """Returns the body of a request, which `OuterMiddleware` limits.

    Raises:
        ClientDisconnect: The client has gone.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return body


def needing(scope: Scope, base: type[GuardedRoute] = GuardedRoute) -> type[GuardedRoute]:
    """Returns the class of the routes that need a scope."""
    return type(f"{base.__name__}For{scope.title()}", (base,), {"needed": scope})
