"""Combines reads that many callers ask for at the same time into one request."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence

from connectors.errors import ConnectorError, UnavailableError

MOST_KEYS = 128
"""Most keys of one request. A round trip of redis-py costs as much CPU as about a hundred more keys in it."""

LONGEST_WAIT_S = 1.0
"""Seconds that a read may wait until its request is sent. It fails the reads of a store that is slow, and not away."""

_CLOSED = "the cache of answers is closed"

_Waiting = dict[str, list[asyncio.Future[bytes | None]]]


class ReadCoalescer:
    """Reads keys. One request is under way at a time; the reads that come meanwhile are combined into the next one.

    No timer delays a read: the first one is sent in the next turn of the event loop, together with all others of this
    turn. Several reads of the same key are one key of the request.

    Args:
        fetch: Returns the values of some keys, in their order, within a limited time.
        on_coalesced: Called with the number of reads that share a request with an earlier one.
        most: Most keys of one request.
        longest_wait_s: Seconds after which a read fails that could not be sent, because `fetch` is slow.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[str]], Awaitable[Sequence[bytes | None]]],
        *,
        on_coalesced: Callable[[int], None] = lambda _: None,
        most: int = MOST_KEYS,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._fetch = fetch
        self._on_coalesced = on_coalesced
        self._most = most
        self._longest_wait_s = longest_wait_s
        self._waiting: _Waiting = {}
        self._since: dict[str, float] = {}  # when each key of _waiting was first asked for
        self._sender: asyncio.Task[None] | None = None
        self._closed = False

    def read(self, key: str) -> asyncio.Future[bytes | None]:
        """Returns a future with the value of a key, None if there is none. It belongs to the caller, who may cancel it.

        The future raises what `fetch` raises, and UnavailableError if the read waited for too long or after `close`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        if self._closed:
            future.set_exception(UnavailableError(_CLOSED))
            return future
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = [future]
            self._since[key] = loop.time()
        else:
            waiting.append(future)
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return future

    async def close(self) -> None:
        """End what is under way. Reads that wait fail, and so do all later ones."""
        self._closed = True
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])

    async def _send(self) -> None:
        batch: _Waiting = {}
        try:
            while self._waiting:
                batch = self._next()
                values = await self._fetch(list(batch))
                self._on_coalesced(sum(map(len, batch.values())) - 1)
                for futures, value in zip(batch.values(), values, strict=True):
                    for future in futures:
                        if not future.done():  # its caller has gone
                            future.set_result(value)
                self._fail_late()
        except BaseException as exc:
            # The reads that came meanwhile would only wait for the same failure.
            error = UnavailableError(_CLOSED) if isinstance(exc, asyncio.CancelledError) else exc
            _fail(batch, error)
            _fail(self._waiting, error)
            self._waiting, self._since = {}, {}
            if not isinstance(exc, ConnectorError):
                raise
        finally:
            self._sender = None

    def _next(self) -> _Waiting:
        """Take the reads of the next request: those that have waited for longest."""
        if len(self._waiting) <= self._most:
            batch, self._waiting, self._since = self._waiting, {}, {}
            return batch
        keys = list(itertools.islice(self._waiting, self._most))
        for key in keys:
            del self._since[key]
        return {key: self._waiting.pop(key) for key in keys}

    def _fail_late(self) -> None:
        """Fail the reads that have waited for too long. Keys are in the order in which they came."""
        oldest = asyncio.get_running_loop().time() - self._longest_wait_s
        late = list(itertools.takewhile(lambda key: self._since[key] < oldest, self._since))
        for key in late:
            del self._since[key]
            error = UnavailableError("Redis answers too slowly for the reads of the cache")
            _fail({key: self._waiting.pop(key)}, error)


def _fail(reads: Mapping[str, list[asyncio.Future[bytes | None]]], error: BaseException) -> None:
    for futures in reads.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)
