"""Gives answers from the cache, and computes those that it lacks: each of them once, over all processes.

A question goes through these steps:

1. Read the answer from Redis. A fresh one is returned. A stale one is returned too, and computed again in the
   background (stale-while-revalidate, RFC 5861).
2. Join the identical question that this process already computes, if there is one.
3. Acquire the lock of the answer. While another process holds it, look again and again whether the answer has come.
4. Read once more, because the former holder may have stored the answer between steps 1 and 3.
5. Compute the answer, store it, and free the lock. A failure is not stored.

While Redis is away, a process goes from step 2 to step 5 and stores nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from connectors.deadline import Deadline
from connectors.errors import ConnectorError
from streams.errors import DeadlineExceededError
from streams.query.answer_store import AnswerStore, Entry
from streams.query.lock import AnswerLocks
from streams.query.metrics import CacheMetrics
from streams.query.single_flight import Flight, SingleFlight


class ShortLived(NamedTuple):
    """An answer that stays in the cache for `keep_s` seconds at most, such as one that lacks something."""

    value: bytes
    keep_s: float


Compute = Callable[[], Awaitable[bytes | ShortLived]]
CacheResult = Literal["hit", "stale", "computed"]
Refreshed = Literal["replaced", "not_due", "kept", "locked", "not_stored"]

ANSWER_GRACE_S = 2.0
"""Seconds after its deadline that a question still waits: a partial answer is made when the deadline is over."""

COMPUTATION_GRACE_S = 30.0
"""Seconds after the deadline after which a computation is ended, though it should have ended by itself."""

MOST_REFRESHES = 16
"""Most answers that a process computes in the background at a time. Further ones stay stale until they are asked for
again."""

PAUSE_S = 1.0
"""Seconds after which a failed computation in the background is tried again. It is short, because a question whose
answer has expired meanwhile waits for the same lock."""

_FIRST_POLL_S = 0.02
_LONGEST_POLL_S = 0.25


class CachedAnswer(NamedTuple):
    """An answer, when it was made in ms since 1970, and whether the cache had it.

    `computed` means computed for this question, by this process or by another one that it waited for.
    """

    value: bytes
    made_at_ms: int
    result: CacheResult


class ReadThroughCache:
    """Answers questions from the cache. It knows nothing of their content.

    Args:
        answer_grace_s: Seconds after its deadline that a question still waits.
        pause_s: Seconds after which a failed computation in the background is tried again, by any process.
        uniform: Returns a random number between its arguments.
    """

    def __init__(
        self,
        store: AnswerStore,
        locks: AnswerLocks,
        metrics: CacheMetrics,
        *,
        answer_grace_s: float = ANSWER_GRACE_S,
        pause_s: float = PAUSE_S,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._locks = locks
        self._metrics = metrics
        self._answer_grace_s = answer_grace_s
        self._pause_s = pause_s
        self._uniform = uniform
        self._flights: SingleFlight[Entry] = SingleFlight(on_joined=metrics.joined.inc)
        self._refreshes: SingleFlight[None] = SingleFlight()

    async def get(self, key: str, compute: Compute, *, deadline: Deadline) -> CachedAnswer:
        """Returns the answer of a key.

        A caller may be cancelled; the computation goes on and is stored.

        Args:
            key: The key of the question; see `cache_key`.
            compute: Returns the answer. It ends by itself when the deadline is over, with what it has until then. It
                may run in another process or not at all, and after the caller has gone.
            deadline: Until when the caller wants the answer.

        Raises:
            DeadlineExceededError: There was no answer `answer_grace_s` after the deadline.
            ShuttingDownError: `close` was called.
            Exception: What `compute` raises.
        """
        try:
            entry = await self._store.read(key)
        except ConnectorError:  # counted
            entry = None
        if entry is not None:
            if self._store.is_fresh(entry):
                self._metrics.hits.inc()
                return CachedAnswer(entry.value, entry.made_at_ms, "hit")
            self._metrics.stale.inc()
            if len(self._refreshes) < MOST_REFRESHES:
                old = entry
                self._refreshes.start(key, lambda _: self._refresh(key, old, compute, deadline))
            return CachedAnswer(entry.value, entry.made_at_ms, "stale")
        self._metrics.misses.inc()
        try:
            async with asyncio.timeout(deadline.left_s + self._answer_grace_s) as limit:
                entry = await self._flights.run(key, lambda flight: self._answer(key, compute, deadline, flight))
        except TimeoutError as exc:
            if not limit.expired():  # it is the computation's
                raise
            raise DeadlineExceededError("the answer was not there when its deadline was over") from exc
        return CachedAnswer(entry.value, entry.made_at_ms, "computed")

    async def look(self, keys: Sequence[str]) -> list[Entry | None]:
        """Returns the stored answers of some keys, fresh or stale. It does not count as a question.

        Raises:
            ConnectorError: Redis did not answer in time, or rejected the read.
        """
        return list(await asyncio.gather(*(self._store.read(key) for key in keys)))

    async def refresh(
        self,
        key: str,
        compute: Compute,
        *,
        deadline: Deadline,
        is_due: Callable[[Entry | None], bool] = lambda _: True,
        replaces: Callable[[Entry | None, bytes], bool] = lambda *_: True,
    ) -> Refreshed:
        """Compute an answer and replace the stored one, though that may still be fresh. For the warmer.

        The lock of the answer is held meanwhile, so that no other process computes it too. A failure leaves the stored
        answer as it is.

        Args:
            key: The key of the question.
            compute: Returns the answer; see `get`.
            deadline: When `compute` ends by itself.
            is_due: Returns whether the stored answer is to be replaced. It is called when the lock is held, because
                another process may have replaced the answer just before.
            replaces: Returns whether the new answer is to be stored instead of the old one.

        Returns:
            What happened: the answer was `replaced`; it was `not_due`; the old one was `kept`; another process computes
            it (`locked`); or the new one could not be stored, which is counted (`not_stored`).

        Raises:
            ConnectorError: Redis did not answer in time, or rejected the command.
            Exception: What `compute` raises; it is counted.
        """
        held = await self._locks.acquire(key)
        if held is None:
            return "locked"
        async with held:
            old = await self._store.read(key)
            if not is_due(old):
                return "not_due"
            value, keep_s = _kept(await self._run("warm", compute, deadline))
            if not replaces(old, value):
                return "kept"
            stored = await self._store.write(key, self._store.made_now(value), keep_s=keep_s)
            return "replaced" if stored else "not_stored"

    async def close(self) -> None:
        """End all computations. The caller closes the Redis client afterwards, because locks are freed until then."""
        await self._flights.close()
        await self._refreshes.close()
        await self._store.close()

    async def _answer(self, key: str, compute: Compute, deadline: Deadline, flight: Flight[Entry]) -> Entry:
        """Returns an answer that was not in the cache in step 1."""
        try:
            held = await self._locks.acquire(key)
            if held is None:
                self._metrics.lock_waits.inc()
            delays = self._delays()
            while held is None:
                await asyncio.sleep(next(delays))
                if not flight.is_wanted:
                    raise asyncio.CancelledError  # nobody would see the result, or an error
                if (entry := await self._store.read(key)) is not None:
                    return entry
                held = await self._locks.acquire(key)
        except ConnectorError:  # counted; without Redis each process computes for itself
            entry, _ = await self._compute("miss", key, compute, deadline)
            return entry
        async with held:
            if (entry := await self._read_or_none(key)) is None:
                entry, _ = await self._compute("miss", key, compute, deadline)
            return entry

    async def _refresh(self, key: str, old: Entry, compute: Compute, deadline: Deadline) -> None:
        """Replace a stale answer, unless another process does. Takes some time in any case that leaves it stale.

        So a stale answer that is asked for often does not try again with every question.
        """
        try:
            held = await self._locks.acquire(key)
        except ConnectorError:  # counted
            held = None
        if held is None:
            await asyncio.sleep(self._uniform(self._pause_s / 2, self._pause_s))
            return
        async with held:
            now = await self._read_or_none(key)
            if now is not None and now.made_at_ms != old.made_at_ms:
                return
            try:
                _, stored = await self._compute("refresh", key, compute, deadline)
            except Exception:
                held.free_after(self._pause_s)
                raise
            if not stored:
                held.free_after(self._pause_s)

    async def _compute(self, cause: str, key: str, compute: Compute, deadline: Deadline) -> tuple[Entry, bool]:
        """Returns the answer, and whether it could be stored."""
        value, keep_s = _kept(await self._run(cause, compute, deadline))
        entry = self._store.made_now(value)
        return entry, await self._store.write(key, entry, keep_s=keep_s)

    async def _run(self, cause: str, compute: Compute, deadline: Deadline) -> bytes | ShortLived:
        """Returns what `compute` returns. Its failure is counted by the cause of the computation."""
        self._metrics.computations.labels(cause).inc()
        try:
            async with asyncio.timeout(deadline.left_s + COMPUTATION_GRACE_S) as limit:
                return await compute()
        except TimeoutError as exc:
            self._metrics.failed.labels(cause).inc()
            if not limit.expired():
                raise
            raise DeadlineExceededError("the computation of an answer did not end at its deadline") from exc
        except Exception:
            self._metrics.failed.labels(cause).inc()
            raise

    async def _read_or_none(self, key: str) -> Entry | None:
        try:
            return await self._store.read(key)
        except ConnectorError:  # counted
            return None

    def _delays(self) -> Iterator[float]:
        """Yields the seconds between two looks at an answer that another process computes."""
        delay = _FIRST_POLL_S
        while True:
            yield delay * self._uniform(0.5, 1.5)
            delay = min(delay * 1.5, _LONGEST_POLL_S)


def _kept(made: bytes | ShortLived) -> tuple[bytes, float | None]:
    """Returns an answer, and for how many seconds at most it is stored; None for as long as usual."""
    return made if isinstance(made, ShortLived) else (made, None)
