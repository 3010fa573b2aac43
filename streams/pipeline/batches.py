"""What becomes of a batch: delivered, fetched again, or the end of the worker. And how two of them overlap."""

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
"""Before a batch that met an absent Redis is fetched again; the lookup of positions then backs off on its own."""

Prepared = TypeVar("Prepared")


async def run_batch(
    app: faust.App,
    source: BatchSource,
    batch: Batch,
    process: Callable[[Batch], Awaitable[None]],
    *,
    stage: str,
    metrics: Metrics,
) -> None:
    """Process one batch of a stage. It ends delivered, rewound to be fetched again, or in a stop of the app.

    Raises:
        Exception: whatever cannot be retried, after the app was told to stop and the source halted.
    """
    with source.in_flight(batch) as current:
        if not current:
            return
        try:
            await process(batch)
        except PositionMismatchError as exc:
            metrics.rewinds.labels(stage, "position").inc()
            source.rewind(str(exc))
        except UnavailableError as exc:
            metrics.rewinds.labels(stage, "unavailable").inc()
            logger.warning("%s: %s; trying again", stage, exc)
            source.rewind(str(exc))
            await asyncio.sleep(RETRY_PAUSE_S)
        except Exception as exc:
            await _stop(app, source, exc)
            raise
        else:
            source.done(batch)


class PipelinedStage(Generic[Prepared]):
    """Runs a stage of two steps: while one batch is being delivered, the next is prepared. One reader at a time.

    Batches are delivered in their order, each after the one before has ended, and a batch that became stale meanwhile
    is not delivered at all: only a delivery counts as in flight, so a revocation does not wait for what is prepared.
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
        """Join the two steps.

        Args:
            app: told to stop where a step fails for good.
            source: of the batches.
            prepare: has no effect outside; whatever it raises is the end.
            deliver: may raise what `run_batch` knows.
            stage: for messages and metrics.
            metrics: where rewinds are counted.
        """
        self._app = app
        self._source = source
        self._prepare = prepare
        self._deliver = deliver
        self._stage = stage
        self._metrics = metrics
        self._delivery: asyncio.Task[None] | None = None

    async def run(self, batch: Batch) -> None:
        """Prepare a batch, wait for the end of the one before, and begin to deliver.

        Raises:
            Exception: this one could not be prepared, or the one before not be delivered; the app was told to stop.
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
        # The app was told of an error already, whether or not another batch comes to wait for this one.
        self._delivery.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def drain(self) -> None:
        """Wait for the delivery under way.

        Raises:
            Exception: it failed for good.
        """
        if self._delivery is not None:
            await self._delivery

    def cancel(self) -> None:
        """Give the delivery under way up; its batch is not done."""
        if self._delivery is not None:
            self._delivery.cancel()


async def _stop(app: faust.App, source: BatchSource, exc: Exception) -> None:
    """Faust would restart the agent and go on with the next batch: a hole in the output."""
    source.halt()
    await app.crash(exc)
