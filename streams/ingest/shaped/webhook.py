"""Receives posts that others send by HTTP, and answers when Kafka has confirmed them."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import Positioned, SkipReason, SourceEvent, SourceSkipped
from connectors.sources.webhook.server import Answer, HttpServer, Request, ServerLimits
from connectors.sources.webhook.signature import SignatureRules
from streams.ingest.shaped.bodies import Body, BodyError, read_body
from streams.ingest.shaped.documents import DocumentReader

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 10_000
"""Posts that wait for Kafka. While there are so many, requests are refused."""

MOST_WAITING_BYTES: Final = 50_000_000
"""Bytes of the bodies that these posts are from."""

_RETRY_AFTER_S: Final = 5
_MOST_NAMED: Final = 20
"""Posts that cannot be read of which an answer says why."""

_REFUSALS: Final = {413: SkipReason.TOO_LARGE, 431: SkipReason.TOO_LARGE, 503: SkipReason.BUSY}


@dataclass(frozen=True, kw_only=True)
class WebhookOptions:
    """How posts are received.

    Attributes:
        host: the address to listen on.
        port: the port; 0 for any.
        reader: reads the documents.
        signature: how requests are signed; None if they are not.
        limits: what clients may do.
        most_posts: the most posts of a request.
        answer_s: seconds after which a request is refused for now whose posts are not confirmed.
    """

    host: str
    port: int
    reader: DocumentReader
    signature: SignatureRules | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)
    most_posts: int = 1_000
    answer_s: float = 30.0


class _Waiting:
    """The events of a request. `safe` tells whether all are confirmed, or that the source has ended before."""

    def __init__(self, events: Sequence[SourceEvent], size: int) -> None:
        self.events = events
        self.size = size
        self.number: int | None = None  # of the last event, once the first one is yielded
        self.safe: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Webhook:
    """The receiver of an instance: makes its sources, and listens until `close`, also between two sources.

    Attributes:
        port: the port on which it listens; None before the first source.
    """

    def __init__(self, options: WebhookOptions) -> None:
        """Prepare a receiver; it listens when its first source is read."""
        self.port: int | None = None
        self.refusals: Counter[SkipReason] = Counter()
        self.source: WebhookSource | None = None
        self._options = options
        self._server: HttpServer | None = None

    @property
    def connections(self) -> int:
        """The connections that are open."""
        return 0 if self._server is None else self._server.connections

    def __call__(self) -> WebhookSource:
        """Make a source for the next connection."""
        return WebhookSource(self)

    async def close(self) -> None:
        """Stop listening, and close the connections."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def listen(self) -> None:
        """Listen, unless it does already.

        Raises:
            UnavailableError: The port is in use.
            RejectedError: The address is not one of this machine, or the process may not listen there.
        """
        if self._server is not None:
            return
        options = self._options
        server = HttpServer(self._answer, options.limits, on_refused=self._note_status)
        try:
            self.port = await server.start(options.host, options.port)
        except OSError as exc:
            kind = UnavailableError if exc.errno == errno.EADDRINUSE else RejectedError
            raise kind(f"the webhook cannot listen on {options.host}:{options.port}: {exc.strerror or exc}") from exc
        self._server = server
        logger.info("the webhook listens on %s:%d", options.host, self.port)

    async def _answer(self, request: Request) -> Answer:
        if request.method != "POST":
            return Answer(405, {"error": "send posts with POST"}, {"allow": "POST"})
        if "content-encoding" in request.headers:
            return self._refused(415, "a body may not be compressed", SkipReason.UNREADABLE)
        if (rules := self._options.signature) is not None:
            problem = rules.problem(request.headers, request.body, time.time())
            if problem is not None:
                return self._refused(401, problem, SkipReason.BAD_SIGNATURE)
        try:
            body = read_body(
                request.body, self._options.reader, most=self._options.most_posts, received_at=datetime.now(UTC)
            )
        except BodyError as exc:
            return self._refused(exc.status, str(exc), _REFUSALS.get(exc.status, SkipReason.UNREADABLE))
        if body.events and not await self._are_safe(body.events, len(request.body)):
            return self._refused(503, "the posts cannot be stored for now", SkipReason.BUSY)
        return _stored(body)

    async def _are_safe(self, events: Sequence[SourceEvent], size: int) -> bool:
        """Hand events to the source, and wait until their posts are confirmed. Returns whether they are."""
        waiting = None if self.source is None else self.source.submit(events, size)
        if waiting is None:
            return False
        try:
            async with asyncio.timeout(self._options.answer_s):
                return await waiting.safe
        except TimeoutError:
            return False

    def _refused(self, status: int, problem: str, reason: SkipReason) -> Answer:
        self._note(reason)
        headers = {"retry-after": str(_RETRY_AFTER_S)} if status == 503 else {}
        return Answer(status, {"error": problem}, headers)

    def _note_status(self, status: int) -> None:
        self._note(_REFUSALS.get(status, SkipReason.UNREADABLE))

    def _note(self, reason: SkipReason) -> None:
        self.refusals[reason] += 1
        if self.source is not None:
            self.source.wake()


def _stored(body: Body) -> Answer:
    """Returns the answer to a request whose posts are stored, as far as they can be read."""
    named = [{"index": index, "reason": problem} for index, problem in body.problems[:_MOST_NAMED]]
    found = {"accepted": body.accepted, "refused": len(body.problems), "problems": named}
    return Answer(422 if body.problems else 200, found)


class WebhookSource:
    """A source of posts that are sent to a `Webhook`. See `connectors.sources.protocol.AcknowledgingSource`.

    Its network is the senders, who send a request again that was not answered with 2xx. So nothing has to be replayed.
    The cursor is the number of events so far.
    """

    name = "webhook"
    stable_ids = True
    silence_s = float("inf")

    def __init__(self, webhook: Webhook) -> None:
        """Prepare a source of a receiver."""
        self._webhook = webhook
        self._waiting: deque[_Waiting] = deque()
        self._events = self._bytes = 0
        self._wake = asyncio.Event()

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield the posts of requests as they come. See `Source.stream`.

        Raises:
            UnavailableError: The port is in use.
            RejectedError: The receiver may not listen there, or the cursor is none of this source.
        """
        number = _number(cursor)
        await self._webhook.listen()
        self._webhook.source = self
        yield Positioned(SourceSkipped(reason=SkipReason.NOT_A_POST, detail="listening"), str(number))
        try:
            while True:
                self._wake.clear()
                for reason, count in self._taken_refusals():
                    for _ in range(count):
                        yield Positioned(SourceSkipped(reason=reason, detail="a request was refused"), str(number))
                for waiting in [one for one in self._waiting if one.number is None]:
                    waiting.number = number + len(waiting.events)
                    for event in waiting.events:
                        number += 1
                        yield Positioned(event, str(number), datetime.now(UTC))
                await self._wake.wait()
        finally:
            self._detach()

    def _taken_refusals(self) -> list[tuple[SkipReason, int]]:
        found = list(self._webhook.refusals.items())
        self._webhook.refusals.clear()
        return found

    def wake(self) -> None:
        """Let the stream look for events and refusals."""
        self._wake.set()

    def submit(self, events: Sequence[SourceEvent], size: int) -> _Waiting | None:
        """Take the events of a request, whose body has `size` bytes; returns None if too many wait already."""
        if self._events + len(events) > MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            return None
        waiting = _Waiting(events, size)
        self._waiting.append(waiting)
        self._events += len(events)
        self._bytes += size
        self.wake()
        return waiting

    def confirmed(self, cursor: str) -> None:
        """Answer the requests whose posts are safe. See `AcknowledgingSource.confirmed`."""
        number = int(cursor)
        while self._waiting and (last := self._waiting[0].number) is not None and last <= number:
            self._end(self._waiting.popleft(), safe=True)

    async def close(self) -> None:
        """Refuse the requests whose posts are not confirmed. The receiver goes on to listen."""
        self._detach()
        while self._waiting:
            self._end(self._waiting.popleft(), safe=False)

    def _detach(self) -> None:
        if self._webhook.source is self:
            self._webhook.source = None

    def _end(self, waiting: _Waiting, *, safe: bool) -> None:
        self._events -= len(waiting.events)
        self._bytes -= waiting.size
        if not waiting.safe.done():
            waiting.safe.set_result(safe)


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise RejectedError("the cursor is not one of webhook: it is the number of an event")
    return int(cursor)
