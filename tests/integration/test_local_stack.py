"""The embedded stack with its real servers: started, stopped, killed and restarted.

All tests of this module use one stack, because Kafka takes seconds to start. Each test starts what it needs, and leaves
the stack running. The path of its directory contains a space and is too long for a Unix socket.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest
import redis
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from redis.backoff import NoBackoff
from redis.retry import Retry

from connectors.errors import LocalStackError
from connectors.local import SERVERS, LocalStack, process
from connectors.local.state import StateFile
from streams.cli.local import local

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("local") / ("a long name " * 10).strip()
    assert len(os.fsencode(directory)) > 107
    yield directory
    LocalStack(directory).down()
    assert process.find_marked(directory) == {}


@pytest.fixture(scope="module")
def stack(data_dir):
    return LocalStack(data_dir)


@pytest.fixture
def endpoints(stack):
    return stack.up()


def pids(stack):
    return {status.name: status.pid for status in stack.status()}


def states(stack):
    return {status.name: status.state for status in stack.status()}


def cli(*arguments, data_dir, first="", **options):
    """Run `emostream local …` in a process of its own, which first executes the code in `first`."""
    argv = [sys.executable, "-c", f"{first}\nfrom streams.cli.local import local; local()", *arguments]
    return subprocess.Popen([*argv, "--data-dir", str(data_dir)], cwd=REPOSITORY, **options)


def create_topic(endpoints, name):
    admin = AdminClient({"bootstrap.servers": endpoints.kafka_bootstrap})
    admin.create_topics([NewTopic(name, num_partitions=1)])[name].result(120)


def produce(endpoints, topic, value):
    errors = []
    producer = Producer({"bootstrap.servers": endpoints.kafka_bootstrap, "acks": "all"})
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(120) == 0
    assert errors == [None]


def first_record(endpoints, topic):
    consumer = Consumer({"bootstrap.servers": endpoints.kafka_bootstrap, "group.id": "test"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(60)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def redis_client(endpoints):
    return redis.Redis.from_url(endpoints.redis_url, decode_responses=True)


def test_everything_survives_down_and_up_on_the_same_addresses(stack, endpoints):
    create_topic(endpoints, "kept")
    produce(endpoints, "kept", b"a record")
    with redis_client(endpoints) as client:
        client.set("kept", "a key")
    with psycopg.connect(endpoints.postgres_dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'a row' AS value")

    stack.down()
    assert states(stack) == dict.fromkeys(SERVERS, "stopped")
    assert stack.endpoints() is None
    assert process.find_marked(stack.data_dir) == {}

    assert LocalStack(stack.data_dir).up() == endpoints
    assert first_record(endpoints, "kept") == b"a record"
    with redis_client(endpoints) as client:
        assert client.get("kept") == "a key"
    with psycopg.connect(endpoints.postgres_dsn) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == ("a row",)


def test_a_second_up_from_another_process_finds_the_running_stack(stack, endpoints):
    before = pids(stack)
    other = cli("up", data_dir=stack.data_dir, stdout=subprocess.PIPE, text=True)
    output, _ = other.communicate(timeout=180)
    assert other.returncode == 0
    assert output.count("already running") == len(SERVERS)
    assert pids(stack) == before
    assert stack.endpoints() == endpoints


def test_every_server_listens_on_loopback_only(stack, endpoints):
    roots = [psutil.Process(pid) for pid in pids(stack).values()]
    listening = [
        connection.laddr.ip
        for member in [*roots, *(child for root in roots for child in root.children(recursive=True))]
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= len(SERVERS)
    # Java reports an IPv4 address on its dual-stack sockets as mapped.
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_servers_require_their_passwords(endpoints):
    address = urlsplit(endpoints.redis_url)
    with (
        redis.Redis(host=address.hostname, port=address.port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    wrong = endpoints.postgres_dsn.replace("emostream:", "emostream:not", 1)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    superuser = endpoints.postgres_dsn.replace("//emostream:", "//postgres:", 1)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(superuser)


@pytest.mark.parametrize("name", SERVERS)
def test_up_restarts_a_killed_server_and_leaves_the_others(stack, endpoints, name):
    before = pids(stack)
    stack.signal(name, signal.SIGKILL)
    killed = before[name]
    assert process.wait_until(lambda: pids(stack)[name] is None, 180)
    assert states(stack)[name] == "stopped"
    assert stack.endpoints() is None

    assert stack.up() == endpoints
    after = pids(stack)
    assert after.pop(name) != killed
    assert after == {other: pid for other, pid in before.items() if other != name}


def test_a_frozen_server_is_unhealthy_and_restarted(stack, endpoints):
    frozen = pids(stack)["redis"]
    stack.signal("redis", signal.SIGSTOP)
    assert states(stack)["redis"] == "unhealthy"
    assert stack.up() == endpoints
    assert states(stack) == dict.fromkeys(SERVERS, "running")
    assert pids(stack)["redis"] != frozen


def test_one_server_stops_and_starts(stack, endpoints):
    with redis_client(endpoints) as client:
        client.set("kept too", "1")
    stack.stop("redis")
    stack.stop("redis")
    assert states(stack) == dict.fromkeys(SERVERS, "running") | {"redis": "stopped"}
    stack.start("redis")
    stack.start("redis")
    assert stack.endpoints() == endpoints
    with redis_client(endpoints) as client:
        assert client.get("kept too") == "1"


def test_stale_pids_that_now_belong_to_others_are_not_touched(stack, endpoints):
    """After a reboot the recorded pids, and that in PostgreSQL's pid file, may belong to unrelated processes."""
    for name in ("redis", "postgres", "s3"):
        stack.signal(name, signal.SIGKILL)
    assert process.wait_until(lambda: list(pids(stack).values()).count(None) == 3, 180)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        file = StateFile(stack.data_dir / "state.json")
        state = file.load()
        for name in ("redis", "postgres", "s3"):
            state.server(name).pid = bystander.pid
            state.server(name).create_time = psutil.boot_time() - 3600
        file.save(state)
        stale = stack.data_dir / "postgres" / "data" / "postmaster.pid"
        lines = stale.read_text().splitlines()
        stale.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        assert states(stack)["redis"] == "stopped"
        assert stack.up() == endpoints
        assert states(stack) == dict.fromkeys(SERVERS, "running")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_processes_without_a_record_are_replaced_and_data_is_kept(stack, endpoints):
    """After a crash before a process was recorded, or a lost state file, `up` sets new passwords and restarts all."""
    with psycopg.connect(endpoints.postgres_dsn) as connection:
        connection.execute("CREATE TABLE survives AS SELECT 1 AS value")
    (stack.data_dir / "state.json").unlink()
    assert states(stack) == dict.fromkeys(SERVERS, "stopped")

    renewed = stack.up()
    assert renewed.postgres_dsn != endpoints.postgres_dsn
    with psycopg.connect(renewed.postgres_dsn) as connection:
        assert connection.execute("SELECT value FROM survives").fetchone() == (1,)
    marked = process.find_marked(stack.data_dir)
    assert {name: pid for name, pid in pids(stack).items() if pid not in {p.pid for p in marked[name]}} == {}
    assert [len(marked[name]) for name in ("kafka", "redis", "s3")] == [1, 1, 1]


def test_a_port_taken_by_another_program_is_replaced(stack, endpoints):
    stack.stop("s3")
    old = urlsplit(endpoints.s3_endpoint)
    with socket.create_server((old.hostname, old.port)):
        stack.start("s3")
        moved = stack.endpoints()
    assert moved is not None
    assert moved.s3_endpoint != endpoints.s3_endpoint
    assert httpx.get(moved.s3_endpoint, timeout=180, trust_env=False).status_code == 200


def test_a_server_that_cannot_start_is_reported_and_the_others_keep_running(stack, endpoints):
    """Valkey has an append-only file that it cannot read. The error contains the end of its log."""
    stack.stop("redis")
    manifest = stack.data_dir / "redis" / "appendonlydir" / "appendonly.aof.manifest"
    sound = manifest.read_text()
    manifest.write_text("nonsense\n")
    try:
        with pytest.raises(LocalStackError, match=r"redis stopped while starting; .*redis.log ends: .*manifest"):
            stack.up()
    finally:
        manifest.write_text(sound)
    assert states(stack) == dict.fromkeys(SERVERS, "running") | {"redis": "stopped"}
    assert set(process.find_marked(stack.data_dir)) == set(SERVERS) - {"redis"}


def test_concurrent_ups_start_one_stack(stack):
    stack.stop("redis")
    stack.stop("s3")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: LocalStack(stack.data_dir).up(), range(2))
    assert first == second
    marked = process.find_marked(stack.data_dir)
    assert len(marked["redis"]) == len(marked["s3"]) == 1


def test_status_and_env_commands(stack, endpoints, tmp_path):
    runner = CliRunner()
    chosen = ["--data-dir", str(stack.data_dir)]
    shown = runner.invoke(local, ["status", "--json", *chosen])
    assert shown.exit_code == 0
    servers = {server["name"]: server for server in json.loads(shown.output)}
    assert list(servers) == list(SERVERS)
    assert servers["kafka"]["address"] == endpoints.kafka_bootstrap
    assert servers["kafka"]["version"].startswith("4.1.")
    assert servers["postgres"]["version"].startswith("18.")
    assert all(server["rss"] > 1_000_000 and server["state"] == "running" for server in servers.values())
    assert runner.invoke(local, ["status", *chosen]).output.count("running") == len(SERVERS)
    assert runner.invoke(local, ["env", *chosen]).output == endpoints.as_exports()

    absent = runner.invoke(local, ["env", "--data-dir", str(tmp_path / "absent")])
    assert isinstance(absent.exception, LocalStackError)
    assert "is not up" in str(absent.exception)
    assert runner.invoke(local, ["status", "--data-dir", str(tmp_path / "absent")]).exit_code == 1


def wait_for_line(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not printed")


NEVER_READY = """
from connectors.local.kafka import KafkaServer
from connectors.local.server import NotAnsweringError

def probe(*_):
    raise NotAnsweringError("it must not")

KafkaServer.probe = probe
"""
"""Code that makes `up` wait forever for Kafka, so that a signal always interrupts it."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_no_process(tmp_path, number):
    """At the time of the signal one server has answered, and another runs and has not answered."""
    new = tmp_path / "new"
    with cli("up", data_dir=new, first=NEVER_READY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        try:
            wait_for_line(up.stdout, "ready in")
            # By its record: while its directory is formatted another process has its mark.
            assert process.wait_until(lambda: pids(LocalStack(new))["kafka"] is not None, 180)
            up.send_signal(number)
            _, told = up.communicate(timeout=180)
            assert up.returncode == {signal.SIGINT: 1, signal.SIGTERM: 128 + signal.SIGTERM}[number]
            assert "Traceback" not in told
            assert process.find_marked(new) == {}
        finally:
            up.kill()
            LocalStack(new).down()


def test_a_killed_up_is_cleaned_up_by_down(tmp_path):
    with cli("up", data_dir=tmp_path / "new", stdout=subprocess.PIPE, text=True) as up:
        wait_for_line(up.stdout, "ready in")
        up.kill()
    assert process.find_marked(tmp_path / "new")
    LocalStack(tmp_path / "new").down()
    assert process.find_marked(tmp_path / "new") == {}


def test_foreground_stops_everything_on_a_signal(stack):
    with cli("up", "--foreground", data_dir=stack.data_dir, stdout=subprocess.PIPE, text=True) as up:
        wait_for_line(up.stdout, "Ctrl-C")
        assert states(stack) == dict.fromkeys(SERVERS, "running")
        up.send_signal(signal.SIGTERM)
        assert up.wait(180) == 128 + signal.SIGTERM
    assert states(stack) == dict.fromkeys(SERVERS, "stopped")
    assert process.find_marked(stack.data_dir) == {}
