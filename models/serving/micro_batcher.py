"""Classifies the texts of many concurrent callers in common runs of a model.

A caller awaits `MicroBatcher.classify`. Each inference thread repeats four steps:

1. take the next run out of the queue (`models.serving.request_queue`), or wait until there is one;
2. classify its texts;
3. give the answers to their requests;
4. wake the callers whose requests are complete.

There is no timer: what arrives while all threads classify waits for the next run. So a text waits for nothing if a
thread is idle, and runs become larger as the load rises.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

from models.errors import ClassificationError, OverloadedError, RequestTooLargeError, ServingStoppedError
from models.serving.metrics import BatchMetrics
from models.serving.request_queue import BatchLimits, Request, RequestQueue, Run

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_RETRY_S: Final = 1.0
"""The `OverloadedError.retry_after_s` before the rate of the model is known."""

LONGEST_RETRY_S: Final = 60.0
"""Greatest `OverloadedError.retry_after_s`."""

JOIN_S: Final = 5.0
"""Seconds to wait for the threads to end, after their callers have got answers or errors. A run takes less."""

_KEEP: Final = 0.9
"""What a run counts in the measured rate after the next run. The last ten runs decide most of it."""


class MicroBatcher(Generic[T]):
    """Classifies texts in inference threads, for callers in one event loop.

    `start`, `classify` and `close` must be called in this event loop.
    """

    def __init__(
        self,
        classify: Callable[[Sequence[str], Sequence[str | None]], Sequence[T]],
        metrics: BatchMetrics,
        *,
        limits: BatchLimits | None = None,
        threads: int = 1,
    ) -> None:
        """Prepare the batcher. Nothing runs yet.

        Args:
            classify: Called in the inference threads with the texts of a run, and for each text with the language tag
                that its source gives. It must return one answer per text, in order.
            metrics: The metrics of the batcher.
            limits: The limits of runs and of what waits.
            threads: Number of inference threads, each of which classifies one run at a time.
        """
        self._classify = classify
        self._metrics = metrics
        self._limits = limits or BatchLimits()
        self._queue: RequestQueue[T] = RequestQueue(self._limits)
        self._changed = threading.Condition()
        """Guards the queue, the rate, `_idle` and `_stopped`. Nobody holds it while a run is classified."""
        self._idle = 0
        """Number of threads that wait for texts."""
        self._callers: dict[Request[T], asyncio.Future[list[T]]] = {}
        """The requests whose callers wait, with what they wait for. Only the event loop uses it."""
        self._failing = False
        self._closing = False
        self._stopped = False
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()
        self._tokens = self._seconds = 0.0
        """Sums over the runs so far, of which older ones count less."""
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{number}", daemon=True) for number in range(threads)
        ]
        metrics.waiting_texts.set_function(lambda: self._queue.texts)
        metrics.waiting_bytes.set_function(lambda: self._queue.bytes)

    def start(self) -> None:
        """Start the threads. The callers must be in the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def classify(self, texts: Sequence[str], stated: Sequence[str | None]) -> list[T]:
        """Classify texts. If the caller is cancelled, texts that are in no run yet are not classified.

        The texts of one request may be classified in several runs.

        Args:
            texts: Any number of texts.
            stated: For each text the language tag that its source gives; None if there is none.

        Returns:
            One answer per text, in order.

        Raises:
            OverloadedError: Too many texts or bytes wait. No text of this request was queued.
            RequestTooLargeError: The request would not fit, even if no other one waited.
            ClassificationError: The classify function failed in a run with texts of this request.
            ServingStoppedError: `close` was called, and its time was over before there was an answer.
            ValueError: `stated` has another length than `texts`.
        """
        if len(texts) != len(stated):
            raise ValueError(f"there are {len(stated)} stated languages for {len(texts)} texts")
        if self._closing:
            raise self._refused("stopping", ServingStoppedError("the process stops, and accepts no more texts"))
        if not texts:
            return []
        request: Request[T] = Request(texts, stated, text_tokens=self._limits.text_tokens, arrived=time.monotonic())
        with self._changed:
            self._admit(request)
            self._changed.notify()
        caller: asyncio.Future[list[T]] = self._loop.create_future()
        self._callers[request] = caller
        self._nobody_waits.clear()
        try:
            return await caller
        except asyncio.CancelledError:
            self._metrics.abandoned.inc()
            raise
        finally:
            with self._changed:
                self._queue.remove(request)
            del self._callers[request]
            if not self._callers:
                self._nobody_waits.set()

    async def close(self, timeout_s: float) -> None:
        """Accept no more texts, wait for the answers to those that wait, and stop the threads.

        After `timeout_s` seconds, or if this call is cancelled, the callers that still wait get a
        `ServingStoppedError`. Then the call waits for runs in progress, for up to `JOIN_S` seconds.
        """
        self._closing = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._nobody_waits.wait()
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for caller in self._callers.values():
                if not caller.done():
                    caller.set_exception(ServingStoppedError("the process stopped before the texts were classified"))
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        """Wait for the threads to end, because one that is in ONNX Runtime when the process exits could abort it.

        They are daemon threads, so one that hangs does not keep the process from exiting.
        """
        deadline = time.monotonic() + JOIN_S
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _admit(self, request: Request[T]) -> None:
        """Add a request to the queue. The caller holds the lock.

        Raises:
            OverloadedError, RequestTooLargeError: It does not fit. Nothing was added.
        """
        if not self._queue.fits_alone(request):
            limits = self._limits
            message = (
                f"a request of {len(request.texts)} texts with {request.bytes} bytes is too large; at most "
                f"{limits.waiting_texts} texts with {limits.waiting_bytes} bytes may wait"
            )
            raise self._refused("too_large", RequestTooLargeError(message))
        if not self._queue.fits(request):
            message = f"{self._queue.texts} texts with {self._queue.bytes} bytes wait for the model already"
            raise self._refused("overloaded", OverloadedError(message, self._retry_after_s()))
        self._queue.add(request)

    def _retry_after_s(self) -> float:
        """Returns about how long the texts take that are in no run yet."""
        if not self._tokens:
            return FIRST_RETRY_S
        tokens_per_s = self._tokens / max(self._seconds, 1e-9) * len(self._threads)
        # In the mean half of a run is still to be classified.
        waiting = self._queue.waiting_tokens + self._limits.run_tokens / 2
        return min(waiting / tokens_per_s, LONGEST_RETRY_S)

    def _refused(self, reason: str, error: Exception) -> Exception:
        self._metrics.refused.labels(reason).inc()
        return error

    def _work(self) -> None:
        """Run an inference thread: repeat the steps 1 to 4 until `close` stops it."""
        # Step 1: take the next run.
        while (run := self._next_run()) is not None:
            begin = time.monotonic()
            for request, start, _ in run.parts:
                if start == 0:
                    self._metrics.queue_seconds.observe(begin - request.arrived)
            # Step 2: classify.
            outcome = self._outcome(run)
            seconds = time.monotonic() - begin
            self._metrics.run_seconds.observe(seconds)
            self._metrics.run_texts.observe(len(run.texts))
            self._metrics.run_tokens.observe(run.tokens)
            # Step 3: give the answers to their requests.
            with self._changed:
                self._tokens = self._tokens * _KEEP + run.tokens
                self._seconds = self._seconds * _KEEP + seconds
                ended = self._distribute(run, outcome)
            # Step 4: wake the callers.
            if ended:
                failure = outcome if isinstance(outcome, BaseException) else None
                with suppress(RuntimeError):  # the event loop was closed, and its callers with it
                    self._loop.call_soon_threadsafe(self._wake, ended, failure)

    def _next_run(self) -> Run[T] | None:
        """Wait for texts, and return the next run; None after `close`."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._stopped or bool(self._queue))
            run = None if self._stopped else self._queue.take(self._idle)
            self._idle -= 1
            if self._queue:
                self._changed.notify()
            return run

    def _outcome(self, run: Run[T]) -> Sequence[T] | BaseException:
        """Returns the answers to the texts of a run, or the exception of the classify function."""
        try:
            answers = self._classify(run.texts, run.stated)
            if len(answers) != len(run.texts):
                raise ValueError(f"the model gave {len(answers)} answers to {len(run.texts)} texts")
        # BaseException, because a panic in a Rust library is not an Exception. The thread must not end.
        except BaseException as exc:
            self._metrics.failures.inc()
            if not self._failing:  # one line for many failures of a broken model
                self._failing = True
                logger.error("a run of %d texts failed, and its callers get an error", len(run.texts), exc_info=exc)
            return exc
        if self._failing:
            self._failing = False
            logger.info("the model classifies again")
        return answers

    def _distribute(self, run: Run[T], outcome: Sequence[T] | BaseException) -> list[Request[T]]:
        """Store the answers of a run in its requests, and return the requests that are complete or have failed."""
        if isinstance(outcome, BaseException):
            failed = list(dict.fromkeys(part.request for part in run.parts))
            for request in failed:
                self._queue.skip(request)
            return failed
        ended = []
        position = 0
        for request, start, stop in run.parts:
            if request.put(start, outcome[position : position + stop - start]):
                ended.append(request)
            position += stop - start
        return ended

    def _wake(self, ended: Sequence[Request[T]], failure: BaseException | None) -> None:
        """Give complete requests, or those of a run that failed, to their callers, unless these have gone."""
        for request in ended:
            caller = self._callers.get(request)
            if caller is None or caller.done():
                continue
            if failure is None:
                caller.set_result(request.answers)  # type: ignore[arg-type] # none of them is missing
            else:
                error = ClassificationError(f"the model failed: {type(failure).__name__}")
                error.__cause__ = failure
                caller.set_exception(error)
