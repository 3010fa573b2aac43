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
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from api.origins import is_loopback_name
from api.problems import ProblemError
from api.resources import Resources
from streams.access.caller import Caller
from streams.access.scopes import Scope

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

SECURITY_SCHEMES = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer (JWT)."},
}
"""How a caller authenticates, for the OpenAPI document."""

_SECURITY: dict[str, Any] = {"security": [{name: []} for name in SECURITY_SCHEMES]}


async def admit(connection: HTTPConnection, scope: Scope) -> Caller:
    """Admit the caller of a request or a WebSocket.

    Raises:
        ProblemError: The service needs no credentials, and a page that is not its own may have sent the request.
        AccessError: The credentials are missing or not accepted, lack the scope, or have sent too many requests.
        UnavailableError: Nobody knows now whether the credentials are valid.
    """
    resources: Resources = connection.app.state.resources
    headers = connection.headers
    if not resources.access.required and not (
        resources.settings.api_allow_open or all(map(is_loopback_name, headers.getlist("host")))
    ):
        raise ProblemError(HTTPStatus.FORBIDDEN, "without authentication the service answers to loopback names only")
    return await resources.access.admit(headers.get("authorization"), headers.get("x-api-key"), scope)


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
        """Returns the handler of the four steps."""
        endpoint, needed = self.endpoint, self.needed
        first = next(iter(inspect.signature(endpoint).parameters))
        body: TypeAdapter[BaseModel] = TypeAdapter(get_type_hints(endpoint)[first])

        async def handler(request: Request) -> Response:
            # Step 1: admit the caller.
            await admit(request, needed)
            # Step 2: read the body, and validate it.
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                # A page of any origin can send other types without asking the service first (CORS).
                raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
            if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
                # Some bytes can be gigabytes when they are decompressed.
                raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed")
            try:
                value = body.validate_json(await request.body())
            except ValidationError as exc:
                errors = [{**one, "loc": ("body", *one["loc"])} for one in exc.errors(include_context=False)]
                raise RequestValidationError(errors) from None
            # Step 3: call the endpoint.
            answer = await endpoint(value, request.app.state.resources)
            # Step 4: write the answer.
            if isinstance(answer, Response):
                return answer
            return Response(answer.__pydantic_serializer__.to_json(answer), media_type="application/json")

        return handler


def needing(scope: Scope, base: type[GuardedRoute] = GuardedRoute) -> type[GuardedRoute]:
    """Returns the class of the routes that need a scope."""
    return type(f"{base.__name__}For{scope.title()}", (base,), {"needed": scope})
