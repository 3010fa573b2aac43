"""The metrics, health and status of a running sink, and `emostream sink status`; with real servers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from confluent_kafka import TIMESTAMP_CREATE_TIME, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.producer import ConfirmedProducer
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.gate.cpu_aware import OpenGate
from streams.ops.demo.processes import Role, clean_environment
from streams.records import ClassifiedPost
from streams.settings import Settings
from streams.sink.runner import open_sink
from tests.integration.support import configure, counter, free_port, metric_lines, wait_for
from tests.integration.test_sink import classified, feed, query, record_of, rows

# The gate stays closed: the servers of the tests use more than a thousandth of the machine in each second. If they did
# not, the load would have to stay low for an hour.
CLOSED = {"EMOSTREAM_SINK_CPU_PERCENT": "0.1", "EMOSTREAM_SINK_CALM_S": "3600"}


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Returns the status code and the document; code 0 if nothing answers yet."""
    try:
        # `verify=False`: loading the certificates would take most of the time.
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=60, trust_env=False, verify=False)
    except httpx.TransportError:
        return 0, {}
    return answer.status_code, answer.json()


def run_status(env: dict[str, str], *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams", "sink", "status", *options],
        env=clean_environment({**env, **more, "COLUMNS": "80"}),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def status(env: dict[str, str], *options: str) -> dict[str, Any]:
    result = run_status(env, "--json", *options)
    assert (result.returncode, result.stderr) == (0, "")
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def backlog(port: int) -> float:
    """Returns the backlog by the metrics of the sink."""
    return counter(port, "emostream_sink_backlog_records")


def test_a_sink_that_writes_shows_what_it_has_written(
    env: dict[str, str], settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    port = free_port()
    feed(producer, settings, 0, 400)  # 40 of them are delivered twice
    start("sink", "--web-port", str(port), EMOSTREAM_SINK_BACKFILL_INTERVAL_S="1")
    wait_for(lambda: counter(port, "emostream_sink_records_total") == 440, what="the sink does not count them")
    assert get(port, "/health") == (200, {"status": "ok", "reasons": []})
    # The first backfill may have run before the posts were written.
    wait_for(
        lambda: ((get(port, "/status")[1].get("backfill") or {}).get("rows")) == 400,
        what="no backfill compares them",
    )
    assert counter(port, "emostream_sink_last_backfill_seconds") > 0
    assert metric_lines(port, "emostream_sink_gate_open") == ["emostream_sink_gate_open 1.0"]

    found = status(env, "--url", f"http://127.0.0.1:{port}")
    (sink,) = found["sinks"]
    report = sink["report"]
    assert (report["health"], report["gate"]["reason"]) == ("ok", "forced")
    assert {one["topic"]: one["written"] for one in report["topics"]} == {
        settings.topic_classified: 440,
        settings.topic_windows: 0,
        settings.topic_deletions: 0,
    }
    assert (report["backfill"]["rows"], report["backfill"]["holes"]) == (400, 0)
    assert [one["records"] for one in found["topics"]] == [0, 0, 0]
    assert found["topics"][0]["last_written_at"] is not None

    lines = run_status(env, "--url", f"http://127.0.0.1:{port}").stdout.splitlines()
    assert lines[0] == f"sink at http://127.0.0.1:{port}/status: ok"
    assert any("there is no limit on the load" in line for line in lines)
    assert any("400 rows checked, 0 holes" in line for line in lines)


def test_a_sink_with_a_closed_gate_is_waiting_and_its_backlog_grows(
    env: dict[str, str], settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    port = free_port()
    closed = start("sink", EMOSTREAM_SINK_WEB_PORT=str(port), **CLOSED)
    feed(producer, settings, 0, 400)
    wait_for(lambda: backlog(port) == 440, what="the backlog is not seen")
    feed(producer, settings, 100, 200)
    wait_for(lambda: backlog(port) == 660, what="the backlog does not grow")
    assert closed.log.read_text().count("rewinding") <= 2, "a closed gate must not fetch and rewind again and again"

    code, health = get(port, "/health")
    assert (code, health["status"]) == (200, "waiting")
    assert health["reasons"][0].startswith("the gate is closed: ")
    assert counter(port, "emostream_sink_gate_open") == 0
    assert counter(port, "emostream_sink_backlog_seconds") > 0
    assert rows(settings) == 0

    # Without --url the sink of this machine is asked.
    shown = run_status({**env, **CLOSED, "EMOSTREAM_SINK_WEB_PORT": str(port)})
    assert shown.returncode == 0
    assert f"sink at http://127.0.0.1:{port}/status: waiting" in shown.stdout
    assert "gate: closed for " in shown.stdout
    found = status(env, "--url", f"http://127.0.0.1:{port}/status")
    (sink,) = found["sinks"]
    gate = sink["report"]["gate"]
    assert (gate["is_open"], gate["limit"]) == (False, 0.001)
    assert gate["reason"] in {"busy", "calming"}
    posts, windows, _ = found["topics"]
    assert [posts["records"], windows["records"], posts["last_written_at"]] == [660, 0, None]
    assert [one["records"] for one in posts["partitions"]] == [165] * 4
    assert posts["oldest_s"] > 0

    assert closed.stop() == 0  # while it runs, it keeps its partitions
    with open_sink(settings, gate=OpenGate()) as sink:
        sink.run(threading.Event(), once=True)
    assert rows(settings) == 600
    assert [one["records"] for one in status(env)["topics"]] == [0, 0, 0]


def test_a_sink_whose_backfill_waits_for_the_gate_stops_cleanly(
    settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    feed(producer, settings, 0, 40)
    with open_sink(settings, gate=OpenGate()) as sink:
        sink.run(threading.Event(), once=True)
    sink = start("sink", EMOSTREAM_SINK_BACKFILL_INTERVAL_S="1", **CLOSED)
    locked = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
        "WHERE locktype = 'advisory' AND datname = current_database()"
    )
    wait_for(lambda: query(settings, locked) == [(1,)], what="no backfill begins")
    assert sink.stop() == 0
    assert "did not stop" not in sink.log.read_text()


def test_a_backfill_that_ends_early_is_counted_with_what_it_did(
    settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    """A backfill fills posts first. For the windows it needs Redis, which does not answer here."""
    feed(producer, settings, 0, 40)
    with open_sink(settings, gate=OpenGate()) as sink:
        sink.run(threading.Event(), once=True)
    query(settings, "DELETE FROM posts WHERE origin_partition = 1")
    port = free_port()
    start(
        "sink",
        EMOSTREAM_SINK_WEB_PORT=str(port),
        EMOSTREAM_SINK_BACKFILL_INTERVAL_S="1",
        EMOSTREAM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
    )
    wait_for(lambda: counter(port, "emostream_sink_backfill_failures_total") > 0, what="it does not fail")
    wait_for(lambda: counter(port, "emostream_sink_rows_filled_total") == 10, what="it does not count")
    assert metric_lines(port, "emostream_sink_holes_total") == [
        f'emostream_sink_holes_total{{kind="missing",topic="{settings.topic_classified}"}} 1.0'
    ]
    assert counter(port, "emostream_sink_last_backfill_seconds") == 0
    assert rows(settings) == 40


def produce_at(settings: Settings, partition: int, posts: list[ClassifiedPost], at: float) -> None:
    """Write classified posts with the timestamp `at`, in seconds since 1970."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for post in posts:
        record = record_of(settings, post)
        producer.produce(record.topic, record.value, partition=partition, timestamp=round(at * 1_000))
    assert producer.flush(120) == 0


def keeps_timestamps(settings: Settings) -> bool:
    """Returns whether the broker already keeps the timestamps that producers give to records of the topic."""
    produce_at(settings, 3, [classified(0, 3)], time.time())
    scan = TopicScan(kafka_config(settings), settings.topic_classified, group=scan_group(settings))
    try:
        *_, last = scan.messages()
        return last.timestamp()[0] == TIMESTAMP_CREATE_TIME
    finally:
        scan.close()


def test_a_backlog_near_the_retention_is_danger(
    env: dict[str, str], settings: Settings, start: Callable[..., Role]
) -> None:
    """Records that were appended fifty minutes ago, on a topic that keeps them for an hour."""
    configure(settings, settings.topic_classified, "retention.ms", 3_600_000)
    configure(settings, settings.topic_classified, "message.timestamp.type", "CreateTime")
    port = free_port()
    start("sink", EMOSTREAM_SINK_WEB_PORT=str(port), **CLOSED)
    wait_for(lambda: get(port, "/health")[1].get("status") == "waiting", what="it does not wait")
    wait_for(lambda: keeps_timestamps(settings), what="the broker does not keep timestamps")
    produce_at(settings, 0, [classified(offset) for offset in range(40)], time.time() - 3_000)
    wait_for(lambda: get(port, "/health")[0] == 503, what="the health is not danger")

    _, health = get(port, "/health")
    assert health["status"] == "danger"
    assert health["reasons"][0].startswith(f"{settings.topic_classified}: the oldest unwritten record has waited 5")
    assert health["reasons"][0].endswith("Kafka deletes it after 1 h")
    posts, windows, _ = status(env)["topics"]
    assert (posts["in_danger"], windows["in_danger"]) == (True, False)
    assert posts["retention_share"] > 0.8
    share = f'emostream_sink_retention_share{{topic="{settings.topic_classified}"}}'
    wait_for(lambda: counter(port, share) > 0.8, what="the metric does not show it")


def test_what_is_missing_is_shown_without_a_sink(
    env: dict[str, str], settings: Settings, producer: ConfirmedProducer
) -> None:
    feed(producer, settings, 0, 400)
    with open_sink(settings, gate=OpenGate()) as sink:
        sink.run(threading.Event(), once=True)
    clean = run_status(env, EMOSTREAM_SINK_WEB_PORT=str(free_port()))
    assert clean.returncode == 0
    assert clean.stdout.startswith("no sink answers at http://127.0.0.1:")
    assert len(clean.stdout.splitlines()[0]) < 80
    assert "skipped;" not in clean.stdout

    topic = settings.topic_classified
    query(settings, f"DELETE FROM sink_ledger WHERE topic = '{topic}' AND partition = 1")
    query(
        settings,
        "INSERT INTO sink_gaps (topic, partition, first_offset, next_offset, reason) "
        f"VALUES ('{topic}', 2, 0, 7, 'lost'), ('{topic}', 2, 10, 11, 'lost'), ('{topic}', 1, 0, 10, 'expired')",
    )
    # Kafka deletes the offsets 110 to 119 of partition 3, which no sink has written.
    feed(producer, settings, 100, 400)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 3, 120)]).values():
        future.result(120)

    posts = status(env)["topics"][0]
    assert [one["skipped"] for one in posts["partitions"]] == [
        [],
        [{"first_offset": 10, "next_offset": 110}],
        [],
        [],
    ]
    assert [one["expired"] for one in posts["partitions"]] == [0, 0, 0, 10]
    assert [one["records"] for one in posts["partitions"]] == [110, 110, 110, 100]
    assert posts["gaps"] == [
        {"partition": 1, "reason": "expired", "ranges": 1, "offsets": 10},
        {"partition": 2, "reason": "lost", "ranges": 2, "offsets": 8},
    ]
    shown = run_status(env).stdout
    assert "no sink was asked: EMOSTREAM_SINK_WEB_PORT is 0; give --url\n" in shown
    assert f"{topic}[1] 10 to 109: skipped; `emostream backfill` reads them again\n" in shown
    which = "which neither Kafka nor Postgres has"
    assert f"{topic}[2]: lost: 8 offsets in 2 ranges, {which} (lost; see sink_gaps)\n" in shown
    assert f"{topic}[3]: 10 offsets left Kafka before being written;" in shown


def test_a_port_in_use_is_an_error_of_one_line(env: dict[str, str], settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "streams", "sink", "--web-port", port]
        result = subprocess.run(
            command, env=clean_environment(env), capture_output=True, text=True, timeout=180, check=False
        )
        assert result.returncode == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("emostream: error:")]
        assert line == (
            f"emostream: error: port {port} is in use; choose another with EMOSTREAM_SINK_WEB_PORT, or 0 for no web "
            "server"
        )
        assert "Traceback" not in result.stderr
        # A sink with --once has no web server, so the port of a running sink does not matter.
        once = subprocess.run(
            [*command, "--once"], env=clean_environment(env), capture_output=True, text=True, timeout=180, check=False
        )
        assert once.returncode == 0


def test_a_server_that_does_not_answer_is_an_error_after_the_answers_of_the_sinks(
    env: dict[str, str], settings: Settings
) -> None:
    nobody = free_port()
    result = run_status(
        env,
        EMOSTREAM_POSTGRES_DSN=f"postgresql://x@127.0.0.1:{nobody}/x",
        EMOSTREAM_SINK_WEB_PORT=str(nobody),
    )
    assert result.returncode == 1
    assert result.stdout == f"no sink answers at http://127.0.0.1:{nobody}/status: Connection refused\n"
    assert result.stderr.startswith(
        f"emostream: error: PostgreSQL did not answer while connecting to 127.0.0.1:{nobody}"
    )
    assert len(result.stderr.splitlines()) == 1
