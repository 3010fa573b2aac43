"""The live streams: server-sent events and a WebSocket, with the same messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope
from starlette.websockets import WebSocketState

from api.guarded import admit, needing, still_admitted
from api.live.hub import LiveHub
from api.live.ring import Kind
from api.live.stream import Intervals, Message, MessageKind, Subscription, messages
from api.models.base import Keyword
from api.origins import may_connect
from api.problems import ProblemError, problem_of, problem_response
from api.resources import Resources, Shared
from api.responses import problems
from streams.access.scopes import Scope

router = APIRouter(prefix="/v1", tags=["live"], route_class=needing(Scope.LIVE))
sockets = APIRouter(prefix="/v1")

MOST_KEYWORDS = 50

Keywords = Annotated[list[Keyword], Query(alias="keyword", min_length=1, max_length=MOST_KEYWORDS)]
Kinds = Annotated[list[Kind], Query(alias="kind", min_length=1, max_length=len(Kind))]

_EXAMPLE = """\
id: 5f1c22aa-17
event: update
data: {"windows":[{"keyword":"coffee","size":60,"count":12}],"posts":[],"skipped_posts":0}

"""


@router.get(
    "/stream",
    responses={
        200: {"content": {"text/event-stream": {"example": _EXAMPLE}}, "description": "A stream that does not end."},
        **problems(401, 403, 422, 429, 503),
    },
)
async def stream(
    request: Request,
    resources: Shared,
    keyword: Keywords = ["*"],  # noqa: B006 - FastAPI copies it
    kind: Kinds = [Kind.WINDOW],  # noqa: B006
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Follow changed windows and new posts as server-sent events.

    An `update` has the windows that have changed since the last one, each in its newest state, and new posts. Posts
    come more often than windows. If more come than a client can show, the newest ones are sent, and `skipped_posts` has
    the number of the others. After a `gap`, read the windows again: something may be missing. A client resumes with the
    header `Last-Event-ID`, as browsers do by themselves.
    """
    if resources.stop.is_set():
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the process stops", kind="stopping", retry_after_s=1)
    return EventStream(resources.live, _messages(request, resources, keyword, kind, last_event_id))


@sockets.websocket("/live")
async def live(
    websocket: WebSocket,
    keyword: Keywords = ["*"],  # noqa: B006 - FastAPI copies it
    kind: Kinds = [Kind.WINDOW],  # noqa: B006
    last_event_id: Annotated[str | None, Query(max_length=64)] = None,
) -> None:
    """The same as a WebSocket. A message is a JSON object with `id`, `event` and `data`."""
    resources: Resources = websocket.app.state.resources
    try:
        if not may_connect(websocket, resources.settings.api_cors_origins):
            raise ProblemError(HTTPStatus.FORBIDDEN, "pages of this origin may not connect")
        await admit(websocket, Scope.LIVE)
        with resources.live.client():
            await websocket.accept()
            await _serve(websocket, _messages(websocket, resources, keyword, kind, last_event_id), resources.stop)
    except Exception as exc:
        problem = problem_of(exc)
        if problem is None or websocket.application_state is not WebSocketState.CONNECTING:
            raise
        await websocket.send_denial_response(problem_response(problem))


async def _serve(websocket: WebSocket, found: AsyncIterator[Message], stop: asyncio.Event) -> None:
    """Send messages until the client goes or the process stops. `api.protocols` disconnects one that does not read."""

    async def send() -> None:
        async for message in found:
            text = b'{"id":"%b","event":"%b","data":%b}' % (message.id.encode(), message.kind.encode(), message.data)
            await websocket.send_text(text.decode())
        # 1008: the caller is not admitted any more. 1012: connect again.
        await websocket.close(*((1012, "the process stops") if stop.is_set() else (1008, "not admitted any more")))

    async def receive() -> None:
        while True:
            await websocket.receive_text()  # it has no meaning; it is read so that the end of the client is noticed

    await _until_one_ends(send(), receive(), expected=(WebSocketDisconnect, RuntimeError))


async def _until_one_ends(*parts: Coroutine[Any, Any, None], expected: tuple[type[Exception], ...]) -> None:
    """Run the parts of an answer until the first of them ends, and cancel the others.

    Raises:
        Exception: An error of a part, if it is not one of the `expected` ones, with which a client goes.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception) and not isinstance(result, expected):
            raise result


class EventStream(Response):
    """An answer with server-sent events. `api.protocols` disconnects a client that does not read."""

    media_type = "text/event-stream"

    def __init__(self, hub: LiveHub, found: AsyncIterator[Message]) -> None:
        """Prepare the answer; nothing is read yet."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._found = found

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send the events."""
        with self._hub.client():
            await _until_one_ends(self._wait_until_gone(receive), self._send_all(send), expected=(OSError,))

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # The client learns at once that the stream has begun, also if nothing changes for a while.
        await send({"type": "http.response.body", "body": b": the stream has begun\n\n", "more_body": True})
        async for message in self._found:
            await send({"type": "http.response.body", "body": as_event(message), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _wait_until_gone(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


def as_event(message: Message) -> bytes:
    """Returns a message as a server-sent event; a sign of life as a comment, which programs do not see."""
    if message.kind is MessageKind.HEARTBEAT:
        return b": nothing has changed\n\n"
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (message.id.encode(), message.kind.encode(), message.data)


def _messages(
    connection: HTTPConnection, resources: Resources, keywords: list[str], kinds: list[Kind], last_id: str | None
) -> AsyncIterator[Message]:
    return messages(
        resources.live,
        resources.stop,
        Subscription(frozenset(keywords), frozenset(kinds)),
        last_id=last_id,
        intervals=Intervals(resources.settings.api_live_interval_s, resources.settings.api_live_posts_interval_s),
        admitted=lambda: still_admitted(connection, Scope.LIVE),
    )
