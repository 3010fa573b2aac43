"""The web server of a sink, on loopback: metrics, health and status."""

from __future__ import annotations

import json
import math
import socket
from typing import Any

import pytest

from connectors.errors import RejectedError
from streams.gate.rule import GateReason, GateState
from streams.redact import remember_secrets
from streams.sink.metrics import SinkMetrics
from streams.sink.report import (
    TopicReport,
)
from streams.sink.status import ask
from streams.sink.web import SinkWeb
from tests.helpers import NOON
from tests.sink_status_support import DANGER, SINCE, UNAVAILABLE, Served, gate, report, served_fixture, state, topic  # noqa: F401 - fixtures


def test_metrics_are_those_of_the_registry(served: Served) -> None:
    served.metrics.written.labels("posts.classified").inc(3)
    code, kind, body = served.get("/metrics")
    assert (code, kind.split(";")[0]) == (200, "text/plain")
    assert b'emostream_sink_records_total{topic="posts.classified"} 3.0\n' in body


@pytest.mark.parametrize(
    ("reason", "topics", "code", "status"),
    [
        (GateReason.IDLE, [topic()], 200, "ok"),
        (GateReason.BUSY, [topic()], 200, "waiting"),
        (GateReason.IDLE, [UNAVAILABLE], 200, "retrying"),
        (GateReason.IDLE, [DANGER], 503, "danger"),
    ],
)
def test_health_has_a_code_and_reasons(
    served: Served, reason: GateReason, topics: list[TopicReport], code: int, status: str
) -> None:
    served.report = report(gate(reason, 0.5), *topics)
    found, kind, body = served.get("/health")
    assert (found, kind) == (code, "application/json")
    assert json.loads(body) == {"status": status, "reasons": list(served.report.reasons)}


def test_status_is_the_report_with_secrets_masked(served: Served) -> None:
    remember_secrets(["hunter2-of-the-sink"])
    served.report = report(gate(), topic(last_error="no route to hunter2-of-the-sink"))
    answer = ask(f"http://127.0.0.1:{served.port}/status")
    assert answer.error is None
    assert answer.report == report(gate(), topic(last_error="no route to ***"))


@pytest.mark.parametrize(
    ("path", "options", "code"),
    [
        ("/", {}, 404),
        ("/metrics/x", {}, 404),
        ("/health", {"method": "POST", "content": b"x"}, 405),
        ("/metrics", {"method": "POST", "content": b"x"}, 405),
    ],
)
def test_other_pages_and_methods_are_refused(served: Served, path: str, options: dict[str, Any], code: int) -> None:
    assert served.get(path, **options)[0] == code


def test_a_silent_client_delays_no_other(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=180):
        assert served.get("/health")[0] == 200


def test_a_port_in_use_and_a_foreign_address_are_errors(served: Served) -> None:
    for host, port, words in (
        ("127.0.0.1", served.port, f"port {served.port} is in use; .*EMOSTREAM_SINK_WEB_PORT, or 0"),
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1.*EMOSTREAM_WEB_BIND"),
    ):
        web = SinkWeb(host, port, registry=served.metrics.registry, report=lambda: served.report)
        with pytest.raises(RejectedError, match=words), web:
            pytest.fail("it listens")


def test_after_its_end_it_no_longer_answers() -> None:
    metrics = SinkMetrics()
    with SinkWeb("127.0.0.1", 0, registry=metrics.registry, report=lambda: report(gate())) as web:
        assert ask(f"http://127.0.0.1:{web.port}/status").report is not None
    assert ask(f"http://127.0.0.1:{web.port}/status").error == "Connection refused"


def test_the_gauges_show_the_state_of_the_gate_at_each_read() -> None:
    class FakeGate:
        state = state(GateReason.BUSY, 0.5)
        resets = 2

        def is_open(self) -> bool:
            return False

    metrics, watched = SinkMetrics(), FakeGate()
    metrics.watch(watched)

    def values() -> list[float | None]:
        names = ("gate_open", "gate_since_seconds", "gate_resets", "cpu_utilization", "pressure")
        return [metrics.registry.get_sample_value(f"emostream_sink_{name}") for name in names]

    assert values()[:4] == [0.0, SINCE.timestamp(), 2.0, 0.5]
    assert math.isnan(values()[4] or 0)
    watched.state = GateState(True, GateReason.IDLE, 0.1, 0.25, NOON.timestamp())
    assert values() == [1.0, NOON.timestamp(), 2.0, 0.1, 0.25]
