"""What a user sees when something is missing or wrong: one clear line, exit code 1, no stack trace, no secret."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.package.folder import bundled_package_path
from streams.ops.demo.processes import Role, clean_environment
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S, configure, good_posts, offsets, post, produce, records, wait_for

SECRET = "hunter2-secret"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, held so that nothing will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def run(env: dict[str, str], *arguments: str, **more: str) -> str:
    """Run a command that must fail; its one line."""
    result = subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env=clean_environment({**env, "EMOSTREAM_LOG_LEVEL": "ERROR", **more}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 1, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("emostream: error: ")
    assert SECRET not in result.stdout + result.stderr
    return lines[0]


@pytest.mark.parametrize("command", ["init", "worker", "sink", "audit"])
def test_no_broker(env: dict[str, str], closed_port: int, command: str) -> None:
    line = run(env, command, EMOSTREAM_KAFKA_BOOTSTRAP=f"127.0.0.1:{closed_port}", EMOSTREAM_KAFKA_TIMEOUT_S="2")
    assert f"no Kafka broker answers at 127.0.0.1:{closed_port}" in line


@pytest.mark.parametrize("command", ["worker", "windows"])
def test_no_redis(env: dict[str, str], settings: Settings, closed_port: int, command: str) -> None:
    line = run(env, command, EMOSTREAM_REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{closed_port}/0")
    assert "Redis did not answer" in line


def test_wrong_redis_password(env: dict[str, str], settings: Settings) -> None:
    host = settings.redis_url.get_secret_value().rsplit("@", 1)[-1]
    assert "Redis refused" in run(env, "worker", EMOSTREAM_REDIS_URL=f"redis://:{SECRET}@{host}")


@pytest.mark.parametrize("command", ["init", "sink"])
def test_no_database(env: dict[str, str], settings: Settings, closed_port: int, command: str) -> None:
    line = run(env, command, EMOSTREAM_POSTGRES_DSN=f"postgresql://me:{SECRET}@127.0.0.1:{closed_port}/x")
    assert f"PostgreSQL did not answer while connecting to 127.0.0.1:{closed_port}/x" in line


def test_wrong_database_password(env: dict[str, str], settings: Settings) -> None:
    host = env["EMOSTREAM_POSTGRES_DSN"].rsplit("@", 1)[-1]
    line = run(env, "sink", EMOSTREAM_POSTGRES_DSN=f"postgresql://emostream:{SECRET}@{host}")
    assert "PostgreSQL refused" in line
    assert "password authentication failed" in line


def test_no_s3(env: dict[str, str], settings: Settings, closed_port: int, tmp_path: Path) -> None:
    line = run(
        env,
        "worker",
        EMOSTREAM_S3_ENDPOINT=f"http://127.0.0.1:{closed_port}",
        EMOSTREAM_S3_SECRET_ACCESS_KEY=SECRET,
        EMOSTREAM_MODEL_CACHE=str(tmp_path),
    )
    assert f"127.0.0.1:{closed_port}" in line


def test_no_bucket(env: dict[str, str], settings: Settings) -> None:
    line = run(env, "worker", EMOSTREAM_MODEL_URI="s3://no-such-bucket-here/emotion")
    assert "no bucket no-such-bucket-here" in line


def test_a_model_file_with_a_wrong_checksum(env: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(bundled_package_path(), broken)
    model = bytearray((broken / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (broken / "model.onnx").write_bytes(model)
    line = run(env, "worker", EMOSTREAM_MODEL_URI=str(broken))
    assert "model.onnx" in line
    assert "sha256" in line


def test_a_port_in_use(env: dict[str, str], settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = run(env, "worker", "--web-port", str(port))
    assert f"port {port} is in use" in line


@pytest.mark.parametrize("command", ["worker", "sink", "audit"])
def test_no_topics(env: dict[str, str], command: str) -> None:
    line = run(env, command)
    assert "missing topics: " in line
    assert "run `emostream init`" in line


def test_a_result_that_kafka_refuses_stops_the_worker_and_is_not_lost(
    settings: Settings, start: Callable[..., Role]
) -> None:
    worker = start("worker")
    produce(settings, good_posts(20))
    wait_for(lambda: offsets(settings, settings.topic_classified) == 20, what="20 results")

    configure(settings, settings.topic_classified, "max.message.bytes", 1_000)
    produce(settings, [*good_posts(5), post(secrets.token_hex(2_000)), *good_posts(5)], partition=0)
    assert worker.wait(180) == 1
    log = worker.log.read_text()
    assert "Traceback" not in log
    last = log.strip().splitlines()[-1]
    assert last.startswith("emostream: error: Kafka refused while writing")
    assert "Message size too large" in last

    configure(settings, settings.topic_classified, "max.message.bytes", 1_000_000)
    start("worker")
    wait_for(lambda: offsets(settings, settings.topic_classified) == 31, what="all 31 results")
    origins = [json.loads(value)["origin"] for _, _, value in records(settings, settings.topic_classified)]
    assert len({(origin["partition"], origin["offset"]) for origin in origins}) == 31


def test_windows_that_kafka_refuses_for_good_stop_the_worker(settings: Settings, start: Callable[..., Role]) -> None:
    configure(settings, settings.topic_windows, "max.message.bytes", 100)
    worker = start("worker")
    produce(settings, good_posts(5))
    assert worker.wait(TIMEOUT_S) == 1
    log = worker.log.read_text()
    assert "Traceback" not in log
    last = log.strip().splitlines()[-1]
    assert last.startswith("emostream: error: Kafka refused while publishing as ")
    assert "Message size too large" in last


def test_a_secret_in_a_wrong_setting_is_not_shown(env: dict[str, str]) -> None:
    line = run(env, "worker", EMOSTREAM_REDIS_URL=f"http://:{SECRET}@127.0.0.1")
    assert "EMOSTREAM_REDIS_URL: not a valid address" in line
