"""Runs the role `alerts`: one process evaluates the rules, and every process delivers what was decided."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from uuid import uuid4

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.postgres_pool import PostgresPool
from streams.alerts.delivery.channels import Channel, read_channels, secrets_of
from streams.alerts.delivery.connect import open_deliverer
from streams.alerts.delivery.metrics import DeliveryMetrics
from streams.alerts.delivery.outbox import backlog
from streams.alerts.evaluation.evaluator import Evaluator
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.alerts.evaluation.tables import AlertTables
from streams.alerts.storage.store import alerts_connection
from streams.connections import kafka_config
from streams.errors import TopologyError
from streams.process.held_lease import HeldLease
from streams.process.status_web import StatusWeb
from streams.process.waiting import first_of
from streams.query.windows import KeywordWindows
from streams.redact import remember_secrets
from streams.settings import Settings
from streams.windows.connect import redis_client, table_arguments

logger = logging.getLogger(__name__)

LATE_S = 60.0
"""Seconds without a complete round after which `/health` says that the evaluation is late."""

POSTGRES_S = 1.0
"""Seconds between two looks whether Postgres answers, at the start."""

BACKLOG_S = 5.0
"""Seconds between two reads of the figures of the outbox."""

Part = Callable[[asyncio.Event], Awaitable[None]]
"""A part of the role: it runs until the event is set."""


class AlertsRole:
    """The parts of one process. The evaluation runs while this process has the lease."""

    def __init__(self, settings: Settings, evaluator: Evaluator, pool: PostgresPool, metrics: AlertMetrics) -> None:
        self._kafka = kafka_config(settings)
        self._lease = HeldLease(self._kafka, group=f"{settings.group_prefix}-alerts", topic=settings.topic_alerts)
        self._evaluator = evaluator
        self._pool = pool
        self._metrics = metrics
        self._since = time.monotonic()

    async def evaluate(self, stop: asyncio.Event) -> None:
        """Wait for the lease, and evaluate while this process has it, until `stop`.

        Raises:
            ConnectorError: A server rejects a call.
        """
        async with self._lease.asked_for():
            while not stop.is_set():
                self._lease.check()
                if self._lease.is_held:
                    with self._lease.working():
                        await self._evaluate_while_held(stop)
                else:
                    await self._lease.wait_for_change(stop)

    async def _evaluate_while_held(self, stop: asyncio.Event) -> None:
        """Evaluate until the lease is lost or `stop` is set. The round that runs is completed first."""
        self._metrics.active.set(1)
        self._since = time.monotonic()
        enough = asyncio.Event()
        work = asyncio.create_task(self._evaluator.run(enough))
        work.add_done_callback(lambda _: self._lease.changed.set())
        try:
            while self._lease.is_held and not work.done() and not stop.is_set():
                await self._lease.wait_for_change(stop)
            enough.set()
            await asyncio.wait([work], timeout=self._kafka.revoke_deadline_s)
            if work.done():
                await work
            else:
                logger.warning("the round that ran was not completed in time; its decisions are made again")
            if not stop.is_set():
                logger.warning("another process evaluates the rules now")
        finally:
            work.cancel()
            await asyncio.wait([work])
            self._metrics.active.set(0)

    async def watch_outbox(self, stop: asyncio.Event) -> None:
        """Read the figures of the outbox again and again, until `stop`."""
        while not stop.is_set():
            try:
                async with alerts_connection(self._pool, "counting the deliveries that wait") as connection:
                    found = await backlog(connection)
            except UnavailableError:
                logger.debug("the outbox cannot be counted", exc_info=True)  # the evaluation logs and counts it
            else:
                self._metrics.waiting.set(found.waiting)
                self._metrics.failed.set(found.failed)
                self._metrics.waiting_age.set(found.oldest_s)
            await first_of(stop, timeout_s=BACKLOG_S)

    def health(self) -> tuple[HTTPStatus, object]:
        """Returns the page `/health`: `standby`, `ok`, or with status 503 `late`. Any thread may call it."""
        if not self._lease.is_held:
            return HTTPStatus.OK, {"status": "standby", "reasons": ["another process evaluates the rules, or none yet"]}
        quiet_s = time.monotonic() - max(self._since, self._evaluator.round_at or 0)
        failure = self._evaluator.failure
        if quiet_s < LATE_S:
            return HTTPStatus.OK, {"status": "ok", "reasons": [failure] if failure else []}
        reason = failure or "the round that runs takes long"
        return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "late", "reasons": [f"{quiet_s:.0f} s: {reason}"]}


def run_alerts(settings: Settings) -> None:
    """Run the role until SIGTERM or Ctrl-C.

    Raises:
        SettingsError: The channels file cannot be used.
        TopologyError: A topic is missing.
        ConnectorError: A server rejects a call, the database has no tables of alerts, or the port is in use.
    """
    channels = read_channels(settings.alert_channels)
    remember_secrets(secrets_of(channels))
    existing = KafkaAdmin(kafka_config(settings)).partition_counts()
    if missing := [topic for topic in (settings.topic_windows, settings.topic_alerts) if topic not in existing]:
        raise TopologyError(f"missing topics: {', '.join(missing)}; run `emostream init`")
    asyncio.run(_run(settings, channels))


async def _run(settings: Settings, channels: Mapping[str, Channel]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = AlertMetrics()
    names = tuple(channels)
    async with AsyncExitStack() as stack:
        pool, tables = await stack.enter_async_context(_opened(settings))
        # The deliveries have connections of their own, so that many channels do not hold up the evaluation.
        others = await stack.enter_async_context(_pool(settings))
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"
        evaluator = Evaluator(settings, pool, tables, metrics, holder=holder, channels=lambda: names)
        role = AlertsRole(settings, evaluator, pool, metrics)
        delivery_metrics = DeliveryMetrics(metrics.registry)
        deliverer = await stack.enter_async_context(open_deliverer(settings, others, channels, delivery_metrics))
        if settings.alert_web_port:
            host, port, setting = settings.web_bind, settings.alert_web_port, "EMOSTREAM_ALERT_WEB_PORT"
            pages = {"/health": role.health}
            stack.enter_context(StatusWeb(host, port, registry=metrics.registry, pages=pages, setting=setting))
        await _wait_for_tables(pool, stop)
        if not stop.is_set():
            await _run_parts([role.evaluate, role.watch_outbox, deliverer.run], stop)


async def _wait_for_tables(pool: PostgresPool, stop: asyncio.Event) -> None:
    """Wait until Postgres answers, or `stop` is set. One line in the log says so.

    Raises:
        ConnectorError: Postgres rejects the login or the call, or has no tables of alerts.
    """
    is_told = False
    while not stop.is_set():
        try:
            async with alerts_connection(pool, "looking for the tables of alerts") as connection:
                await connection.execute("SELECT FROM alert_ticks LIMIT 1")
        except UnavailableError as exc:
            if not is_told:
                logger.warning("nothing is evaluated or delivered until Postgres answers: %s", exc)
            is_told = True
            await first_of(stop, timeout_s=POSTGRES_S)
        else:
            return


async def _run_parts(parts: Sequence[Part], stop: asyncio.Event) -> None:
    """Run the parts side by side until `stop`. The first that fails stops the others, and its error is raised."""

    async def run(part: Part) -> None:
        try:
            await part(stop)
        finally:
            stop.set()

    results = await asyncio.gather(*(run(part) for part in parts), return_exceptions=True)
    for result in results:
        failure = result
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]  # the parts of a part have failed; the first one says enough
        if failure is not None:
            raise failure


def _pool(settings: Settings) -> PostgresPool:
    return PostgresPool(settings.postgres_dsn.get_secret_value(), application_name="emostream-alerts")


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[PostgresPool, AlertTables]]:
    client = redis_client(settings)
    try:
        async with _pool(settings) as pool:
            yield pool, AlertTables(KeywordWindows(client, **table_arguments(settings)))
    finally:
        await client.aclose()
