"""Sends the posts of fetches to the raw topic, and keeps them while Kafka, Redis or Postgres does not answer.

No answer waits for it. For each batch it does, in this order:

1. add the live keywords, if they were not known when a post was found;
2. drop the posts that were sent before (`streams.query.fetch_sent`);
3. write the others, and wait until Kafka has confirmed each, however long that takes;
4. note in Redis that they were sent.

A crash between step 3 and step 4 leaves posts that were sent and are not noted. A fetch that finds them again sends
them again, unless Postgres has them by then.

Posts wait in memory. What the process cannot send until it stops, it reports as lost. A process that is killed loses
them without a report; nothing notes them as sent, so the next fetch that finds them sends them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, Protocol

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.producer import Outgoing, WrittenOffsets
from connectors.repeats import Repeats
from streams.ingest.sources.backoff import Backoff, BackoffLimits
from streams.query.fetch_metrics import FetchMetrics
from streams.query.fetch_posts import FoundPost
from streams.records import Post
from streams.wording import counted

logger = logging.getLogger(__name__)

MOST_POSTS = 10_000
MOST_BYTES = 32 * 1024 * 1024
"""The most posts that are kept, and the most memory that they take. What comes beyond is lost."""

BATCH = 500
SLOW_S = 5.0
"""Seconds after which posts that Kafka has not confirmed are a problem."""

_WAITS = BackoffLimits(first_s=0.5, most_s=15.0)


class _StepError(Exception):
    """A step of sending has failed, and is repeated."""

    def __init__(self, step: str, error: ConnectorError) -> None:
        super().__init__(str(error))
        self.step = step
        self.error = error


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except ConnectorError as exc:
        raise _StepError(name, exc) from exc


class Producer(Protocol):
    """The methods of a producer that are needed; `ConfirmedProducer` has them."""

    async def deliver(self, records: Sequence[Outgoing], /) -> WrittenOffsets:
        """Write records, and wait until each is confirmed."""
        ...

    def close(self, timeout_s: float = 5.0, /) -> int:
        """Wait for records that are not confirmed, and close."""
        ...


class Sent(Protocol):
    """What knows the posts that were sent; `SentPosts` is one."""

    async def known(self, posts: Sequence[Post], /) -> Mapping[str, str]:
        """Returns the ids of those that were sent before, with what knows that."""
        ...

    async def mark(self, ids: Sequence[str], /) -> None:
        """Note that posts were sent."""
        ...


class OutboxReport(NamedTuple):
    """What an outbox has done.

    Attributes:
        kept: posts that wait to be sent.
        sent: posts that Kafka has confirmed.
        known: posts that were not sent, because they had been sent before.
        lost: posts that were dropped without being sent.
        problem: why posts wait; None if there is no problem.
    """

    kept: int
    sent: int
    known: int
    lost: int
    problem: str | None


class Outbox:
    """The posts of a process that wait to be sent. For one event loop."""

    def __init__(
        self,
        *,
        open_producer: Callable[[], Producer],
        topic: str,
        sent: Sent,
        metrics: FetchMetrics,
        most_posts: int = MOST_POSTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Prepare; nothing is connected to.

        Args:
            open_producer: makes a producer that never gives up. It is called again after an error of the producer.
            topic: the raw topic.
            sent: knows the posts that were sent before.
            metrics: counts what happens.
            most_posts: the most posts that are kept.
            most_bytes: the most memory that they take.
        """
        self._open_producer = open_producer
        self._topic = topic
        self._sent_before = sent
        self._metrics = metrics
        self._most_posts = most_posts
        self._most_bytes = most_bytes
        self._posts: dict[str, FoundPost] = {}
        self._bytes = 0
        self._unmarked: list[str] = []
        self._producer: Producer | None = None
        self._sent = self._known = self._lost = 0
        self._problem: str | None = None
        self._writing_since: float | None = None
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self._repeats = Repeats()

    def start(self) -> None:
        """Begin to send, in a task of its own."""
        self._task = asyncio.create_task(self._run())

    def report(self) -> OutboxReport:
        """Returns what was done so far."""
        problem = self._problem
        waits_s = 0.0 if self._writing_since is None else time.monotonic() - self._writing_since
        if problem is None and waits_s > SLOW_S:
            problem = f"Kafka has not confirmed posts for {waits_s:.0f} s"
        if self._task is not None and self._task.done():
            problem = "the task that sends posts has ended, because of a defect"
        return OutboxReport(len(self._posts), self._sent, self._known, self._lost, problem)

    def put(self, posts: Sequence[FoundPost]) -> None:
        """Keep posts until they are sent. Those for which there is no room are lost, and are counted."""
        lost = 0
        for found in posts:
            if found.post.id in self._posts:
                continue
            if len(self._posts) >= self._most_posts or self._bytes + found.memory > self._most_bytes:
                lost += 1
                continue
            self._posts[found.post.id] = found
            self._bytes += found.memory
        if lost:
            self._lose(lost, "full")
            if self._repeats.due("full"):
                logger.error(
                    "%s of fetches %s lost: %s wait to be sent already; %s",
                    counted(lost, "post"),
                    "is" if lost == 1 else "are",
                    counted(len(self._posts), "post"),
                    self.report().problem or "they come faster than they are sent",
                )
        self._changed()

    async def close(self, timeout_s: float) -> int:
        """Send what waits, for at most `timeout_s` seconds, and stop. Returns how many posts are lost."""
        try:
            if self._task is not None and not self._task.done():
                async with asyncio.timeout(timeout_s):
                    await self._empty.wait()
        except TimeoutError:
            pass
        finally:
            problem = self.report().problem
            if self._task is not None:
                self._task.cancel()
                (result,) = await asyncio.gather(self._task, return_exceptions=True)
            await self._close_producer()
        lost = len(self._posts)
        if lost:
            self._lose(lost, "stopped")
            self._remove(list(self._posts))
            logger.error(
                "%s of fetches %s lost, because this process stops: %s. A later fetch may find them again",
                counted(lost, "post"),
                "is" if lost == 1 else "are",
                problem or "they were not confirmed in time",
            )
        if self._task is not None and isinstance(result, Exception):
            raise result
        return lost

    async def _run(self) -> None:
        backoff = Backoff(_WAITS)
        while True:
            await self._wake.wait()
            try:
                await self._send()
            except _StepError as exc:
                self._problem = str(exc.error)
                self._metrics.send_failures.labels(exc.step).inc()
                if self._repeats.due(exc.step):
                    logger.warning("%s of fetches to be sent: %s", counted(len(self._posts), "post"), exc.error)
                await asyncio.sleep(backoff.wait_s(exc.error))
            else:
                backoff.reset()
                self._problem = None

    async def _send(self) -> None:
        """Send a batch. It stays in the outbox if a step fails.

        Raises:
            _StepError: A server did not answer, or rejected the call.
        """
        await self._mark()
        # Step 1: add the live keywords.
        complete = (post for one in self._posts.values() if (post := one.with_all_keywords()) is not None)
        posts = list(islice(complete, BATCH))
        if self._posts and not posts:
            raise _StepError("keywords", UnavailableError("the live keywords are not known: Kafka has not answered"))
        # Step 2: drop those that were sent before.
        with _step("look_up"):
            known = await self._sent_before.known(posts) if posts else {}
        for by in known.values():
            self._metrics.known.labels(by).inc()
        self._known += len(known)
        self._remove(list(known))
        posts = [post for post in posts if post.id not in known]
        # Step 3: write the others.
        if posts:
            await self._write([Outgoing(self._topic, post.to_json(), post.id.encode()) for post in posts])
            ids = [post.id for post in posts]
            self._unmarked += ids
            self._sent += len(ids)
            self._metrics.sent.inc(len(ids))
            self._remove(ids)
        # Step 4: note that they were sent.
        await self._mark()
        self._changed()

    async def _write(self, records: Sequence[Outgoing]) -> None:
        self._writing_since = time.monotonic()
        try:
            with _step("write"):
                if self._producer is None:
                    self._producer = self._open_producer()
                await self._producer.deliver(records)
        except _StepError:
            # The producer has failed for good. Records that it has written come again within the next seconds, and the
            # windows count them once.
            await self._close_producer()
            raise
        finally:
            self._writing_since = None

    async def _mark(self) -> None:
        if self._unmarked:
            with _step("note"):
                await self._sent_before.mark(self._unmarked)
            self._unmarked = []

    def _remove(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            self._bytes -= self._posts.pop(id_).memory
        self._changed()

    def _lose(self, posts: int, cause: str) -> None:
        self._lost += posts
        self._metrics.lost.labels(cause).inc(posts)

    def _changed(self) -> None:
        self._metrics.kept.set(len(self._posts))
        self._metrics.kept_bytes.set(self._bytes)
        for event, is_so in ((self._wake, self._posts or self._unmarked), (self._empty, not self._posts)):
            event.set() if is_so else event.clear()

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.close, 0.5)
