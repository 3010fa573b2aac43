"""Runs the batches of a stage: handles the errors of a batch, and prepares one batch while another is delivered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import faust

from connectors.errors import PositionMismatchError, UnavailableError
from connectors.kafka.batch import Batch
from connectors.kafka.source import BatchSource
from streams.metrics import Metrics

logger = logging.getLogger(__name__)

RETRY_PAUSE_S = 1.0
"""Seconds to wait before a batch is fetched again after a server did not answer.

The lookup of positions comes first, and has a backoff of its own."""

Prepared = TypeVar("Prepared")


class StaleBatchError(Exception):
    """A batch has become stale while it was processed. The outputs that it has so far remain."""


async def run_batch(
    app: faust.App,
    source: BatchSource,
    batch: Batch,
    process: Callable[[Batch], Awaitable[None]],
    *,
    stage: str,
    metrics: Metrics,
) -> None:
    """Process one batch of a stage, unless the batch is stale.

    - If `process` returns, the batch is done.
    - If it raises StaleBatchError, the batch is not done. The source has rewound, or another worker has the partitions.
    - If it raises PositionMismatchError or UnavailableError, the source rewinds, and the batch is fetched again.
    - If it raises any other error, the source halts and the app stops.

    Raises:
        Exception: `process` raised an error that cannot be retried. The source is halted and the app is stopping.
    """
    with source.in_flight(batch) as current:
        if not current:
            return
        try:
            await process(batch)
        except StaleBatchError:
            logger.info("the %s stage leaves the rest of a stale batch", stage)
        except PositionMismatchError as exc:
            metrics.rewinds.labels(stage, "position").inc()
            source.rewind(str(exc))
        except UnavailableError as exc:
            metrics.rewinds.labels(stage, "unavailable").inc()
            source.rewind(str(exc))
            await asyncio.sleep(RETRY_PAUSE_S)
        except Exception as exc:
            await _stop(app, source, exc)
            raise
        else:
            source.done(batch)


class PipelinedStage(Generic[Prepared]):
    """Runs a stage in two parts: while one batch is delivered, the next one is prepared.

    Batches are delivered in order, each after the delivery before it has ended. A batch that has become stale by then
    is not delivered. Only a batch that is delivered is in flight, so a revocation does not wait for a batch that is
    prepared. `run` must not be called while another call is running.
    """

    def __init__(
        self,
        app: faust.App,
        source: BatchSource,
        prepare: Callable[[Batch], Awaitable[Prepared]],
        deliver: Callable[[Prepared], Awaitable[None]],
        *,
        stage: str,
        metrics: Metrics,
    ) -> None:
        """Create the stage.

        Args:
            app: the app, which stops if a part fails with an error that cannot be retried.
            source: the source of the batches.
            prepare: the first part. It must have no effect outside the process. Any error of it stops the app.
            deliver: the second part. Its errors are handled as those of `process` in `run_batch`.
            stage: name of the stage in log lines and metrics.
            metrics: the worker's metrics.
        """
        self._app = app
        self._source = source
        self._prepare = prepare
        self._deliver = deliver
        self._stage = stage
        self._metrics = metrics
        self._delivery: asyncio.Task[None] | None = None

    async def run(self, batch: Batch) -> None:
        """Prepare a batch, wait until the delivery before it has ended, and start to deliver this one.

        Raises:
            Exception: The batch could not be prepared, or the delivery before it failed for good. The app is stopping.
        """
        if not self._source.is_current(batch):
            return
        try:
            prepared = await self._prepare(batch)
        except Exception as exc:
            await _stop(self._app, self._source, exc)
            raise
        await self.drain()
        self._delivery = asyncio.create_task(
            run_batch(
                self._app,
                self._source,
                batch,
                lambda _: self._deliver(prepared),
                stage=self._stage,
                metrics=self._metrics,
            )
        )
        # `run_batch` has handled the error. Read it here, or asyncio complains if no batch waits for this delivery.
        self._delivery.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def drain(self) -> None:
        """Wait until the current delivery has ended.

        Raises:
            Exception: The delivery failed for good. The app is stopping.
        """
        if self._delivery is not None:
            await self._delivery

    def cancel(self) -> None:
        """Cancel the current delivery. Its batch is not done."""
        if self._delivery is not None:
            self._delivery.cancel()


async def _stop(app: faust.App, source: BatchSource, exc: Exception) -> None:
    """Halt the source and stop the app.

    Without the halt, Faust would restart the agent, and the next batch would leave a hole in the output.
    """
    source.halt()
    await app.crash(exc)
