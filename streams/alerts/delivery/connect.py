"""Opens what the deliveries need: the topic of alerts, and the readers of classified posts and of windows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from connectors.postgres_pool import PostgresPool
from streams.alerts.delivery.channels import Channel
from streams.alerts.delivery.deliver import Deliverer, Pace
from streams.alerts.delivery.metrics import DeliveryMetrics
from streams.alerts.delivery.retries import Retries
from streams.alerts.delivery.topic import AlertTopic
from streams.alerts.explanation.course import CourseExplainer
from streams.alerts.explanation.explain import KafkaExplainer
from streams.connections import kafka_config, scan_group
from streams.query.windows import KeywordWindows
from streams.settings import Settings
from streams.windows.connect import redis_client, table_arguments


@asynccontextmanager
async def open_deliverer(
    settings: Settings,
    pool: PostgresPool,
    channels: Mapping[str, Channel],
    metrics: DeliveryMetrics,
    pace: Pace | None = None,
) -> AsyncIterator[Deliverer]:
    """Yield a deliverer with the settings' servers. No server need answer yet.

    Args:
        settings: the settings.
        pool: connections to Postgres. Each is used for one statement at a time.
        channels: the channels, from `read_channels`. `streams.redact` must know their secrets.
        metrics: the metrics.
        pace: how often the outbox is looked at.
    """
    config = kafka_config(settings)
    topic = AlertTopic(config, settings.topic_alerts)
    redis = redis_client(settings)
    explainer = CourseExplainer(
        KafkaExplainer(config, settings.topic_classified, group=scan_group(settings)),
        KeywordWindows(redis, **table_arguments(settings)),
    )
    try:
        yield Deliverer(
            pool,
            channels,
            topic=topic,
            explainer=explainer,
            metrics=metrics,
            public_url=settings.public_url,
            pace=pace or Pace(retries=Retries(give_up_s=3_600 * settings.alert_retry_h)),
        )
    finally:
        await topic.close()
        await redis.aclose()
