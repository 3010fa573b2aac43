"""Reports of a sink, and a web server that serves one, for tests of the status of a sink."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from streams.gate.rule import GateReason, GateState
from streams.sink.metrics import SinkMetrics
from streams.sink.report import (
    BackfillReport,
    GateReport,
    PartitionReport,
    SinkReport,
    TopicReport,
    assess_health,
    gate_report,
)
from streams.sink.web import SinkWeb
from tests.helpers import NOON, make_settings

SINCE = NOON - timedelta(seconds=130)


def state(reason: GateReason, utilization: float | None = None, pressure: float | None = None) -> GateState:
    is_open = reason in {GateReason.IDLE, GateReason.OVERDUE, GateReason.FORCED}
    return GateState(is_open, reason, utilization, pressure, SINCE.timestamp())


def gate(reason: GateReason = GateReason.IDLE, utilization: float | None = 0.05) -> GateReport:
    return gate_report(state(reason, utilization), make_settings())


def topic(**fields: Any) -> TopicReport:
    values: dict[str, Any] = {
        "topic": "posts.classified",
        "retention_s": 1_000.0,
        "in_danger": False,
        "written": 1_234,
        "last_write": NOON,
        "last_error": None,
        "partitions": (
            PartitionReport(partition=0, records=5, oldest_s=12.0),
            PartitionReport(partition=1, records=0, oldest_s=None),
        ),
    }
    return TopicReport(**{**values, **fields})


def report(gate: GateReport, *topics: TopicReport, backfill: BackfillReport | None = None) -> SinkReport:
    health, reasons = assess_health(gate, topics)
    return SinkReport(
        health=health,
        reasons=reasons,
        version="1",
        started_at=NOON - timedelta(hours=2),
        gate=gate,
        topics=topics,
        backfill=backfill,
    )


DANGER = topic(topic="w", in_danger=True, partitions=(PartitionReport(partition=0, records=1, oldest_s=850.0),))
UNAVAILABLE = topic(last_error="PostgreSQL did not answer")


class Served:
    def __init__(self) -> None:
        self.metrics = SinkMetrics()
        self.report = report(gate(), topic())

    def get(self, path: str, **options: Any) -> tuple[int, str, bytes]:
        request = {"method": "GET", **options}
        answer = httpx.request(url=f"http://127.0.0.1:{self.port}{path}", timeout=60, trust_env=False, **request)
        return answer.status_code, answer.headers.get("Content-Type", ""), answer.content


@pytest.fixture(name="served")
def served_fixture() -> Iterator[Served]:
    made = Served()
    with SinkWeb("127.0.0.1", 0, registry=made.metrics.registry, report=lambda: made.report) as web:
        made.port = web.port
        yield made
