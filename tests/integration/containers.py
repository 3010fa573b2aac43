"""The test servers as Docker containers, for machines with a Docker engine (EMOSTREAM_TEST_STACK=containers)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy
from testcontainers.kafka import KafkaContainer
from testcontainers.postgres import PostgresContainer
from testcontainers.redis import RedisContainer

from connectors.local import Endpoints

S3_PORT = 5000


@contextmanager
def running_containers() -> Iterator[Endpoints]:
    """Start Kafka, Valkey, PostgreSQL and S3 (moto), and stop them on exit."""
    with ExitStack() as stack:
        kafka = stack.enter_context(
            KafkaContainer("confluentinc/cp-kafka:7.9.1")
            .with_kraft()
            .with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
            .with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
            .with_env("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000")
        )
        redis = stack.enter_context(RedisContainer("valkey/valkey:8"))
        postgres = stack.enter_context(PostgresContainer("postgres:18", username="emostream", dbname="emostream"))
        s3 = stack.enter_context(
            DockerContainer("motoserver/moto:5.1.6")
            .with_exposed_ports(S3_PORT)
            .waiting_for(HttpWaitStrategy(S3_PORT, "/moto-api/"))
        )
        yield Endpoints(
            kafka_bootstrap=kafka.get_bootstrap_server(),
            redis_url=f"redis://{redis.get_container_host_ip()}:{redis.get_exposed_port(6379)}/0",
            postgres_dsn=postgres.get_connection_url(driver=None),
            s3_endpoint=f"http://{s3.get_container_host_ip()}:{s3.get_exposed_port(S3_PORT)}",
        )
