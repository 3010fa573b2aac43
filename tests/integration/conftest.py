"""The real servers, started once for all integration tests; each test has topics, tables and a database of its own.

The tests with a browser share these servers (`shared_endpoints` in tests/conftest.py).

By default they are the embedded servers. `EMOSTREAM_TEST_STACK=containers` takes testcontainers instead. A server that
does not start fails the tests; nothing is skipped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from connectors.errors import LocalStackError
from connectors.kafka.producer import ConfirmedProducer
from connectors.local import Endpoints, LocalStack
from connectors.s3 import client as s3_connector
from connectors.s3.client import S3, S3Config
from models.package.folder import ModelPackage
from models.registry.publish import publish
from streams.connections import kafka_config
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_model, init_postgres, init_topics
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store
from streams.windows.store import WindowStore
from tests.integration.burners import Burners
from tests.integration.redis_cluster import ClusterNode, running_cluster
from tests.integration.registry_support import BUCKET, URI, DeletingS3, S3Server, make_package

STACK = os.environ.get("EMOSTREAM_TEST_STACK", "embedded")


@pytest.fixture
def burners() -> Iterator[Burners]:
    found = Burners()
    yield found
    found.end()


def end(stack: LocalStack) -> None:
    """Stop all servers; Kafka need not close its hundreds of partitions cleanly, which takes seconds."""
    with contextlib.suppress(LocalStackError):  # a test has stopped it
        stack.signal("kafka", signal.SIGKILL)
    stack.down()


@contextlib.contextmanager
def running_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The servers, while the context is entered."""
    if STACK == "containers":
        from tests.integration.containers import running_containers

        with running_containers() as found:
            yield found
        return
    if STACK != "embedded":
        pytest.fail(f"EMOSTREAM_TEST_STACK={STACK}: give embedded or containers")
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        yield stack.up()
    finally:
        end(stack)


@pytest.fixture(scope="session")
def endpoints(shared_endpoints: Endpoints) -> Endpoints:
    return shared_endpoints


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The servers of one module, which its tests may stop. `own_servers` replaces the shared servers with them."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    stack.up()
    yield stack
    end(stack)


@pytest.fixture(scope="module")
def model_uri(endpoints: Endpoints) -> str:
    """The bundled model on S3, uploaded once."""
    settings = load_settings(env_file=None, environ=endpoints.as_env())
    init_model(settings, lambda line: None)
    return settings.model_uri


@pytest.fixture
def env(endpoints: Endpoints, model_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings, as environment variables, under which a test meets no other test's data."""
    with new_env(endpoints, model_uri, tmp_path_factory) as found:
        yield found


@contextlib.contextmanager
def new_env(endpoints: Endpoints, model_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Such settings, and a database of their own while the context is entered."""
    name = f"t{secrets.token_hex(4)}"
    dsn = _create_database(endpoints.postgres_dsn, name)
    topics = ("raw", "classified", "dead", "late", "windows", "totals", "control", "keywords", "sources", "gaps")
    topics += ("deletions", "alerts")
    yield {
        **endpoints.as_env(),
        **{f"EMOSTREAM_TOPIC_{topic.upper()}": f"{name}.{topic}" for topic in topics},
        "EMOSTREAM_GROUP_PREFIX": name,
        "EMOSTREAM_REDIS_PREFIX": name,
        "EMOSTREAM_POSTGRES_DSN": dsn,
        "EMOSTREAM_MODEL_URI": model_uri,
        "EMOSTREAM_MODEL_CACHE": str(tmp_path_factory.getbasetemp() / "model-cache"),
        "EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "EMOSTREAM_EMIT_INTERVAL_MS": "200",
        "EMOSTREAM_SINK_CPU_PERCENT": "100",  # the machine is busy with the tests
        "EMOSTREAM_SINK_WEB_PORT": "0",
        "EMOSTREAM_WEB_PORT": "0",
        "EMOSTREAM_INGEST_WEB_PORT": "0",
        "EMOSTREAM_WARM_WEB_PORT": "0",
        "EMOSTREAM_ALERT_WEB_PORT": "0",
        "EMOSTREAM_WORKER_PROCESSES": "1",  # what a test kills, pauses or asks for its metrics is the whole worker
    }
    _drop_database(endpoints.postgres_dsn, name)


def _create_database(dsn: str, name: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def _drop_database(dsn: str, name: str) -> None:
    # Not WITH (FORCE): that refuses while an autovacuum worker, which is nobody's we may end, is at work in it. Without
    # it the server ends such a worker by itself, and waits.
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user",
            (name,),
        )
        connection.execute(f"DROP DATABASE {name}")


@pytest.fixture
def settings(env: dict[str, str]) -> Settings:
    """The same settings, with topics, schema and model in place."""
    found = load_settings(env_file=None, environ=env)
    init_topics(found, lambda line: None)
    init_postgres(found, lambda line: None)
    return found


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[WindowStore]:
    async with open_store(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def one_producer(endpoints: Endpoints) -> Iterator[ConfirmedProducer]:
    """One for all tests of a module, because the first record of a producer takes a second."""
    config = kafka_config(load_settings(env_file=None, environ=endpoints.as_env()))
    opened = ConfirmedProducer(config, client_id="test")
    yield opened
    opened.close()


@pytest.fixture
def producer(one_producer: ConfirmedProducer, settings: Settings) -> ConfirmedProducer:
    """A producer, and the topics of the test."""
    return one_producer


@pytest.fixture
def start(env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Role]]:
    """Starts a role (`worker`, `sink`, …) as a process; all are killed at the end of the test."""
    roles: list[Role] = []

    def start_role(*arguments: str, **more: str) -> Role:
        name = f"{arguments[0]}-{len(roles)}"
        environment = clean_environment({**env, **more})
        role = Role(name, list(arguments), env=environment, log=tmp_path / f"{name}.log")
        roles.append(role)
        return role

    yield start_role
    for role in roles:
        role.kill()  # a test that cares how one stops has stopped it


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterNode]]:
    """A cluster that no test may break."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def stoppable_s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def own_s3(stoppable_s3: S3Server) -> S3Server:
    """An S3 server that is empty, and that a test may stop."""
    stoppable_s3.empty()
    return stoppable_s3


@pytest.fixture
def s3_server(own_s3: S3Server) -> S3Config:
    """How to reach it."""
    return own_s3.config


@pytest.fixture(scope="session")
def s3_connection(stoppable_s3: S3Server) -> Iterator[DeletingS3]:
    """One connection for all tests, because creating it costs more CPU time than most tests."""
    with s3_connector.connect(stoppable_s3.config) as s3:
        yield DeletingS3(s3)


@pytest.fixture
def no_buckets(own_s3: S3Server, s3_connection: DeletingS3) -> DeletingS3:
    """A connection to a server without buckets."""
    return s3_connection


@pytest.fixture
def s3(no_buckets: DeletingS3) -> DeletingS3:
    """A connection to a server with an empty bucket."""
    assert no_buckets.ensure_bucket(BUCKET)
    return no_buckets


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    """A package that a test may publish."""
    return make_package(tmp_path / "package")


@pytest.fixture
def versions(s3: S3, tmp_path: Path) -> list[str]:
    """Publish five versions one after the other to `latest`, which then points to the last."""
    made = ["1.0.0", "1.1.0-rc.2", "1.1.0-rc.10", "1.1.0", "1.10.0"]
    for version in made:
        publish(make_package(tmp_path / version, version, version.encode()), URI, s3)
    return made
