"""Runs the warmer: connections, the gate, the versions of the models, and the rounds until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

from connectors.errors import UnavailableError
from connectors.machine.own_load import client_port
from connectors.postgres_pool import AsyncConnection, PostgresPool
from models.package.manifest import Manifest
from models.serving.versions import ServingVersions
from streams.connections import language_model_sources, model_source
from streams.gate.cpu_aware import Gate, warm_gate
from streams.process.background import in_background
from streams.process.metrics_server import metrics_server
from streams.query.cached_engine import CachedEngine, labels_of
from streams.query.demand import Demand
from streams.query.engine import Engine
from streams.query.history import HistoryReader
from streams.query.metrics import CacheMetrics
from streams.query.open_cache import open_cache
from streams.query.windows import KeywordWindows
from streams.settings import Settings
from streams.warm.due import lifetime_s
from streams.warm.metrics import WarmMetrics
from streams.warm.warmer import Warmer
from streams.windows.connect import redis_client, table_arguments

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0

STOP_POLL_S = 0.3
"""Seconds after which work that goes on in spite of its cancellation is cancelled again: a server may be paused."""


class ServingManifests:
    """The manifests of the models that serve, which are read again every `poll_s` seconds."""

    def __init__(self, settings: Settings) -> None:
        """Prepare to read; see `ServingVersions`."""
        self._versions = ServingVersions(model_source(settings), language_model_sources(settings))
        self._poll_s = settings.model_poll_s
        self._read_at = 0.0
        self._manifests: list[Manifest] = []

    def current(self) -> list[Manifest]:
        """Returns the manifests that were read last."""
        return self._manifests

    async def follow(self) -> None:
        """Read the channels if they were not read for `poll_s` seconds.

        Raises:
            ModelError, UnavailableError, RejectedError: A model was never read; see `ServingVersions.read`.
        """
        now = time.monotonic()
        if self._manifests and (not self._poll_s or now - self._read_at < self._poll_s):
            return
        before = [f"{one.name} {one.version}" for one in self._manifests]
        self._manifests = await asyncio.wrap_future(in_background(self._versions.read, name="model-versions"))
        self._read_at = now
        names = [f"{one.name} {one.version}" for one in self._manifests]
        if names != before:
            logger.info("answers are made for %s", ", ".join(names))

    def close(self) -> None:
        """Close the connections to S3."""
        self._versions.close()


@asynccontextmanager
async def open_warmer(
    settings: Settings, models: ServingManifests, gate: Gate, metrics: WarmMetrics
) -> AsyncIterator[Warmer]:
    """Open the connections, and yield a warmer. No server need answer yet.

    Args:
        settings: The settings.
        models: The models that serve.
        gate: The gate, which is entered. The load of the warmer's sessions on Postgres is its own.
        metrics: The metrics.

    Raises:
        RejectedError: An address or an option of it is wrong.
    """

    def own(connection: AsyncConnection) -> None:
        gate.add_backend(connection.info.backend_pid, client_port(connection.fileno()))

    async with AsyncExitStack() as stack:
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        dsn = settings.api_postgres_dsn or settings.postgres_dsn
        pool = PostgresPool(
            dsn.get_secret_value(), application_name="emostream-warm", max_size=1, read_only=True, on_connect=own
        )
        await stack.enter_async_context(pool)
        windows = KeywordWindows(redis, **table_arguments(settings))
        engine = Engine(
            windows=windows,
            history=HistoryReader(pool),
            sizes=settings.window_sizes,
            labels=lambda: labels_of(models.current()),
        )
        cache = await stack.enter_async_context(open_cache(settings, CacheMetrics(metrics.registry)))
        cached_engine = CachedEngine(
            cache,
            engine,
            models.current,
            prefix=settings.redis_prefix,
            deadline_s=settings.query_deadline_s,
            shortest_s=min(size.seconds for size in settings.window_sizes),
        )
        yield Warmer(
            cached_engine,
            Demand(redis, prefix=settings.redis_prefix, half_life_s=settings.warm_half_life_s),
            windows,
            gate,
            metrics,
            keywords=settings.warm_keywords,
            lifetime_s=lifetime_s(keep_s=settings.query_cache_s, fresh_s=settings.query_fresh_s),
            searches=settings.query_sources is not None,
        )


async def run(settings: Settings, *, once: bool = False, gate: Gate | None = None) -> None:
    """Refresh answers until SIGTERM or Ctrl-C; with `once`, those that are due now.

    Args:
        settings: The settings.
        once: Whether to end after one round. Then there is no web server, and a server that does not answer is an
            error.
        gate: Replaces the gate that the settings describe.

    Raises:
        RejectedError: An address or an option of it is wrong, a server refuses the call, or the port is in use.
        ModelError: A model URI is wrong, or the channel names no version that serves.
        LoadError: The load of the machine cannot be measured.
        UnavailableError: A server does not answer, with `once`.
    """
    metrics = WarmMetrics()
    port = 0 if once else settings.warm_web_port
    with (
        closing(ServingManifests(settings)) as models,
        gate or warm_gate(settings) as entered,
        metrics_server(settings.web_bind, port, metrics.registry, setting="EMOSTREAM_WARM_WEB_PORT"),
    ):
        metrics.watch(entered)
        await _until_signal(_work(settings, models, entered, metrics, once=once))


async def _work(settings: Settings, models: ServingManifests, gate: Gate, metrics: WarmMetrics, *, once: bool) -> None:
    async with open_warmer(settings, models, gate, metrics) as warmer:
        if once:
            await models.follow()
            logger.info("%s", await warmer.run_round())
            return
        backoff_s, failing = FIRST_BACKOFF_S, False
        while True:
            begin = time.monotonic()
            try:
                await models.follow()
                done = await warmer.run_round()
            except UnavailableError as exc:
                metrics.failed_rounds.inc()
                if not failing:
                    logger.warning("no answers are refreshed now: %s", exc)
                failing = True
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
                continue
            if failing:
                logger.info("answers are refreshed again")
            backoff_s, failing = FIRST_BACKOFF_S, False
            logger.debug("%s", done)
            await asyncio.sleep(max(0.0, begin + warmer.interval_s - time.monotonic()))


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Do some work until it ends, or until SIGTERM or Ctrl-C, which cancel it."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        while not working.done():
            working.cancel()
            await asyncio.wait([working], timeout=STOP_POLL_S)
    finally:
        stopping.cancel()
        for number in numbers:
            loop.remove_signal_handler(number)
    if not working.cancelled():
        working.result()
