"""What the routes share in one process: connections, models and metrics. It is opened before the service listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from api.json_answers import JsonAnswers
from api.live.feed import MOST_POSTS, KafkaFeed, post_events, window_events
from api.live.hub import LiveHub
from api.metrics import ApiMetrics
from api.models.health import Readiness
from api.pictures import Drawings, draw
from api.status import StatusReader
from connectors.kafka.admin import KafkaAdmin
from connectors.postgres_pool import PostgresPool
from connectors.redis import RedisClient
from streams.access.access import Access
from streams.classification.serving import Serving
from streams.connections import kafka_config
from streams.query.cached_engine import CachedEngine, labels_of
from streams.query.demand import Demand, DemandWriter
from streams.query.engine import Engine
from streams.query.fetch import NetworkFetch, open_fetch
from streams.query.fetch_metrics import FetchMetrics
from streams.query.history import HistoryReader
from streams.query.metrics import CacheMetrics
from streams.query.open_cache import open_cache
from streams.query.single_flight import SingleFlight
from streams.query.windows import KeywordWindows
from streams.settings import Settings
from streams.windows.connect import redis_client, table_arguments

KAFKA_CHECK_S = 2.0
"""Seconds that Kafka has to answer a check. A thread waits for it, so they are few."""

STOP_S = 5.0
"""Seconds that texts which wait for the model have at the end."""


@dataclass(frozen=True)
class Resources:
    """The resources of one process.

    Attributes:
        settings: the settings.
        metrics: the metrics that `/metrics` shows.
        redis: a client of the windows' Redis.
        windows: reads the window tables.
        postgres: connections to Postgres, which refuse to write.
        writing: connections to Postgres for what the service writes: rules and mutes of alerts.
        history: reads the history in Postgres.
        serving: the models, and the classification of texts.
        fetch: searches networks for posts; None if no source is configured.
        answers: answers questions.
        drawings: limits how many pictures are drawn.
        kafka: asks Kafka whether it answers.
        status: reads the state of the application.
        checking: the check of all parts that is under way, which requests share; they need no authentication.
        access: admits callers.
        live: the events of the live streams.
        stop: tells the streams that the process stops.
        one_preview_at_a_time: held while a rule is tried on the history.
        one_tier_at_a_time: held while a request is classified with a tier of its choice.
        one_keyword_change_at_a_time: held while the followed keywords are read or changed, which takes a thread.
    """

    settings: Settings
    metrics: ApiMetrics
    redis: RedisClient
    windows: KeywordWindows
    postgres: PostgresPool
    writing: PostgresPool
    history: HistoryReader
    serving: Serving
    fetch: NetworkFetch | None
    answers: JsonAnswers
    drawings: Drawings
    kafka: KafkaAdmin
    status: StatusReader
    checking: SingleFlight[Readiness]
    access: Access
    live: LiveHub
    stop: asyncio.Event
    one_tier_at_a_time: asyncio.Semaphore
    one_preview_at_a_time: asyncio.Semaphore
    one_keyword_change_at_a_time: asyncio.Semaphore


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the resources, and close them at the end.

    Redis, Postgres and Kafka need not answer: the service starts without them, and says so in `/health/ready`.

    Raises:
        SettingsError: The service would be open on an address that is not loopback.
        InputError: The file of `EMOSTREAM_QUERY_SOURCES` cannot be used.
        RejectedError: An address or an option of it is wrong, or a server refuses the login.
        ModelError, UnavailableError: There is no model that could serve.
    """
    async with AsyncExitStack() as stack:
        metrics = ApiMetrics()
        registry = metrics.registry
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        access = Access(settings, redis, registry)
        await access.start()
        stack.push_async_callback(access.close)
        serving = Serving(settings, registry)
        stack.push_async_callback(serving.close, STOP_S)
        await serving.start()
        dsn = settings.api_postgres_dsn or settings.postgres_dsn
        pool = PostgresPool(dsn.get_secret_value(), application_name="emostream-api", read_only=True)
        await pool.open()
        stack.push_async_callback(pool.close)
        # It connects with the first change of a rule.
        writing = PostgresPool(dsn.get_secret_value(), application_name="emostream-api-alerts", max_size=2)
        await writing.open()
        stack.push_async_callback(writing.close)
        windows = KeywordWindows(redis, **table_arguments(settings))
        history = HistoryReader(pool)
        fetch = await stack.enter_async_context(open_fetch(settings, serving.classify, FetchMetrics(registry)))
        engine = Engine(
            windows=windows,
            history=history,
            sizes=settings.window_sizes,
            labels=lambda: labels_of(serving.current().all),
            fetch=fetch,
        )
        cache_metrics = CacheMetrics(registry)
        cache = await stack.enter_async_context(open_cache(settings, cache_metrics))
        prefix = settings.redis_prefix
        demand = Demand(redis, prefix=prefix, half_life_s=settings.warm_half_life_s)
        asked = await stack.enter_async_context(DemandWriter(demand, cache_metrics))
        cached_engine = CachedEngine(
            cache,
            engine,
            lambda: serving.current().all,
            prefix=prefix,
            deadline_s=settings.query_deadline_s,
            shortest_s=min(size.seconds for size in settings.window_sizes),
        )
        drawings = Drawings()
        answers = JsonAnswers(cached_engine, cache, draw, drawings, asked.asked)
        checking: SingleFlight[Readiness] = SingleFlight()
        stack.push_async_callback(checking.close)
        status = StatusReader(settings, postgres=pool, models=serving.current)
        stack.push_async_callback(status.close)
        live = LiveHub(_feeds(settings, metrics), most_clients=settings.api_max_streams)
        stack.callback(live.close)
        metrics.live_clients.set_function(lambda: live.clients)
        yield Resources(
            settings,
            metrics,
            redis,
            windows,
            pool,
            writing,
            history,
            serving,
            fetch,
            answers,
            drawings,
            KafkaAdmin(replace(kafka_config(settings), timeout_s=KAFKA_CHECK_S)),
            status,
            checking,
            access,
            live,
            asyncio.Event(),
            asyncio.Semaphore(1),
            asyncio.Semaphore(1),
            asyncio.Semaphore(1),
        )


def _feeds(settings: Settings, metrics: ApiMetrics) -> list[KafkaFeed]:
    kafka, group = kafka_config(settings), f"{settings.group_prefix}-api"
    windows, posts = settings.topic_windows, settings.topic_classified
    failures = metrics.live_failures
    return [
        KafkaFeed(kafka, windows, group=group, events_of=window_events, on_failure=failures.labels(windows).inc),
        KafkaFeed(
            kafka, posts, group=group, events_of=post_events, most=MOST_POSTS, on_failure=failures.labels(posts).inc
        ),
    ]


def _resources_of(request: Request) -> Resources:
    """Returns the resources of the app that serves a request."""
    found: Resources = request.app.state.resources
    return found


Shared = Annotated[Resources, Depends(_resources_of)]
"""The type of a route's argument that gets the resources of the app."""
