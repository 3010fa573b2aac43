"""The status of a sink: its report, its web server, and the command `emostream sink status`."""

from __future__ import annotations

import json
import math
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from connectors.errors import RejectedError, UnavailableError
from streams.cli.sink import sink as sink_command
from streams.cli.sink_status import backlog_table, hole_lines, sink_lines, written_lines
from streams.redact import remember_secrets
from streams.sink.gate.rule import GateReason, GateState
from streams.sink.metrics import SinkMetrics
from streams.sink.report import (
    BackfillReport,
    GateReport,
    Health,
    PartitionReport,
    SinkReport,
    TopicReport,
    age,
    assess_health,
    gate_report,
    percent,
)
from streams.sink.status import LARGEST_ANSWER, Answer, Gaps, PartitionStatus, TopicStatus, ask, default_urls, to_json
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
        "trouble": None,
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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (3_605, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_an_age_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0 %"), (0.001, "0.1 %"), (0.2, "20 %"), (0.8734, "87.3 %"), (1, "100 %")]
)
def test_a_share_is_shown_in_percent(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (state(GateReason.STARTING), "the load is not known yet"),
        (state(GateReason.BUSY, 0.87), "others use 87 % of the CPU, the limit is 20 %"),
        (
            state(GateReason.BUSY, 0.19),
            "others use 19 % of the CPU, the limit is 20 %, and a closed gate opens below 18 %",
        ),
        (state(GateReason.PRESSURE, 0.1, 0.5), "tasks stall for 50 % of the time, the limit is 30 %"),
        (
            state(GateReason.CALMING, 0.1),
            "others use 10 % of the CPU, the limit is 20 %; it must stay low for 3 s",
        ),
        (state(GateReason.IDLE, 0.051), "others use 5.1 % of the CPU, the limit is 20 %"),
        (
            state(GateReason.OVERDUE, 0.9),
            "a record has waited for 1 h or more; others use 90 % of the CPU, the limit is 20 %",
        ),
        (state(GateReason.OVERDUE), "a record has waited for 1 h or more; others use an unknown share of the CPU"),
        (state(GateReason.FORCED), "there is no limit on the load (--force, or EMOSTREAM_SINK_CPU_PERCENT=100)"),
    ],
)
def test_the_report_says_why_the_gate_is_open_or_closed(found: GateState, words: str) -> None:
    made = gate_report(found, make_settings(sink_pressure_percent=30, sink_max_delay_s=3_600))
    assert (made.is_open, made.reason, made.why) == (found.is_open, found.reason, words)
    assert made.since == SINCE


def test_every_reason_has_a_text() -> None:
    assert all(gate_report(state(reason), make_settings()).why for reason in GateReason)


def test_limits_are_shares_and_a_forced_gate_has_none() -> None:
    settings = make_settings(sink_cpu_percent=25, sink_pressure_percent=30)
    limited, forced = (gate_report(state(reason), settings) for reason in (GateReason.BUSY, GateReason.FORCED))
    assert (limited.limit, limited.pressure_limit) == (0.25, 0.3)
    assert (forced.limit, forced.pressure_limit) == (None, None)


DANGER = topic(topic="w", in_danger=True, partitions=(PartitionReport(partition=0, records=1, oldest_s=850.0),))
UNAVAILABLE = topic(trouble="PostgreSQL did not answer")


@pytest.mark.parametrize(
    ("reason", "topics", "health", "reasons"),
    [
        (GateReason.IDLE, [topic()], Health.OK, []),
        (GateReason.FORCED, [], Health.OK, []),
        (GateReason.STARTING, [topic()], Health.WAITING, ["the gate is closed: the load is not known yet"]),
        (GateReason.IDLE, [topic(), UNAVAILABLE], Health.RETRYING, ["posts.classified: PostgreSQL did not answer"]),
        (
            GateReason.STARTING,
            [UNAVAILABLE, DANGER],
            Health.DANGER,
            [
                "w: the oldest unwritten record has waited 14 min 10 s, and Kafka deletes it after 16 min 40 s",
                "posts.classified: PostgreSQL did not answer",
                "the gate is closed: the load is not known yet",
            ],
        ),
    ],
)
def test_the_health_is_the_worst_and_all_reasons_are_listed(
    reason: GateReason, topics: list[TopicReport], health: Health, reasons: list[str]
) -> None:
    assert assess_health(gate(reason), topics) == (health, tuple(reasons))


def test_a_report_can_be_read_back_from_json() -> None:
    made = report(gate(GateReason.STARTING, None), topic())
    assert SinkReport.model_validate_json(made.model_dump_json()) == made


# The web server, on loopback.


class Served:
    def __init__(self) -> None:
        self.metrics = SinkMetrics()
        self.report = report(gate(), topic())

    def get(self, path: str, **options: Any) -> tuple[int, str, bytes]:
        request = {"method": "GET", **options}
        answer = httpx.request(url=f"http://127.0.0.1:{self.port}{path}", timeout=60, trust_env=False, **request)
        return answer.status_code, answer.headers.get("Content-Type", ""), answer.content


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    with SinkWeb("127.0.0.1", 0, registry=made.metrics.registry, report=lambda: made.report) as web:
        made.port = web.port
        yield made


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
    served.report = report(gate(), topic(trouble="no route to hunter2-of-the-sink"))
    answer = ask(f"http://127.0.0.1:{served.port}/status")
    assert answer.error is None
    assert answer.report == report(gate(), topic(trouble="no route to ***"))


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
    with socket.create_connection(("127.0.0.1", served.port), timeout=60):
        assert served.get("/health")[0] == 200


def test_a_port_in_use_and_a_foreign_address_are_errors(served: Served) -> None:
    for host, port, error, words in (
        ("127.0.0.1", served.port, RejectedError, f"port {served.port} is in use; .*EMOSTREAM_SINK_WEB_PORT, or 0"),
        ("192.0.2.1", 0, UnavailableError, "cannot listen on 192.0.2.1"),
    ):
        web = SinkWeb(host, port, registry=served.metrics.registry, report=lambda: served.report)
        with pytest.raises(error, match=words), web:
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
        names = ("gate_open", "gate_since_seconds", "gate_breaks", "cpu_utilization", "pressure")
        return [metrics.registry.get_sample_value(f"emostream_sink_{name}") for name in names]

    assert values()[:4] == [0.0, SINCE.timestamp(), 2.0, 0.5]
    assert math.isnan(values()[4] or 0)
    watched.state = GateState(True, GateReason.IDLE, 0.1, 0.25, NOON.timestamp())
    assert values() == [1.0, NOON.timestamp(), 2.0, 0.1, 0.25]


# The command.


@pytest.mark.parametrize(
    ("settings", "urls"),
    [
        ({}, ["http://127.0.0.1:6065/status"]),
        ({"web_bind": "0.0.0.0", "sink_web_port": 7}, ["http://127.0.0.1:7/status"]),
        ({"web_bind": "::"}, ["http://[::1]:6065/status"]),
        ({"web_bind": "sink.example"}, ["http://sink.example:6065/status"]),
        ({"sink_web_port": 0}, []),
    ],
)
def test_the_default_address_is_that_of_the_sink_on_this_machine(settings: dict[str, Any], urls: list[str]) -> None:
    assert default_urls(make_settings(**settings)) == urls


def test_an_answer_that_is_not_a_status_is_an_error(served: Served) -> None:
    assert (
        ask(f"http://127.0.0.1:{served.port}/metrics").error == "the answer is not the status of a sink of this version"
    )
    assert ask(f"http://127.0.0.1:{served.port}/").error == "it answered 404 Not Found; is it a sink?"


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Run a server that gives the same answer to each request; yields its address."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            with suppress(OSError):  # the client may not read all of it
                self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/status"
        finally:
            server.shutdown()
            thread.join()


def test_a_redirect_is_not_followed(served: Served) -> None:
    elsewhere = f"Location: http://127.0.0.1:{served.port}/status\r\n"
    with answering(f"HTTP/1.1 302 Found\r\n{elsewhere}Content-Length: 0\r\n\r\n".encode()) as url:
        assert ask(url).error == "it answered 302 Found; is it a sink?"


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (LARGEST_ANSWER + 1)) as url:
        assert ask(url).error == "it answered more than 10,000,000 bytes; is it a sink?"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
def test_an_answer_that_is_not_http_is_an_error_of_one_line(answer: bytes) -> None:
    with answering(answer) as url:
        assert "\n" not in (ask(url).error or "\n")


def test_the_proxy_of_the_environment_is_not_used(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert ask(f"http://127.0.0.1:{served.port}/status").report is not None


@pytest.mark.parametrize("url", ["sink:6065", "ftp://sink", "http://", "http://sink:port", "file:///etc/passwd"])
def test_an_invalid_address_is_a_wrong_option(url: str) -> None:
    result = CliRunner().invoke(sink_command, ["status", "--url", url])
    assert result.exit_code == 2
    assert "is not an address" in result.output


@pytest.mark.parametrize("option", ["--once", "--force", "--web-port=1"])
def test_options_of_the_sink_are_refused_before_the_command_status(option: str) -> None:
    result = CliRunner().invoke(sink_command, [option, "status"])
    assert result.exit_code == 2
    assert "belong to `emostream sink` without a command" in result.output


def shown(what: RenderableType) -> str:
    out = Console(width=80, color_system=None, force_terminal=False, highlight=False)
    with out.capture() as capture:
        out.print(what, soft_wrap=isinstance(what, str))
    return capture.get()


def test_a_sink_is_shown_in_a_few_lines() -> None:
    backfill = BackfillReport(
        ended_at=NOON - timedelta(minutes=12),
        ranges=9,
        rows=40_000,
        holes=3,
        windows_missing=0,
        windows_outdated=0,
        rows_filled=120,
        windows_filled=0,
        gaps=1,
    )
    answers = [
        Answer("http://a/status", report(gate(GateReason.BUSY, 0.87), topic(), DANGER, backfill=backfill)),
        Answer("http://b/status", None, "Connection refused"),
    ]
    assert shown("\n".join(sink_lines(answers, make_settings(), NOON))) == (
        "sink at http://a/status: danger\n"
        "  gate: closed for 2 min 10 s: others use 87 % of the CPU, the limit is 20 %\n"
        "  written in 2 h: 1,234 of posts.classified, 1,234 of w\n"
        "  backfill: 12 min ago; 40,000 rows checked, 3 holes, 120 rows and 0 windows filled, 1 gaps\n"
        "  w: the oldest unwritten record has waited 14 min 10 s, and Kafka deletes it after 16 min 40 s\n"
        "no sink answers at http://b/status: Connection refused\n"
    )


def test_without_a_web_server_no_sink_is_asked() -> None:
    (line,) = sink_lines([], make_settings(sink_web_port=0), NOON)
    assert line == "no sink was asked: EMOSTREAM_SINK_WEB_PORT is 0; give --url"


def test_control_characters_of_an_answer_are_escaped() -> None:
    answer = Answer("http://a/status", None, "\x1b[2J[bold]x")
    assert shown("\n".join(sink_lines([answer], make_settings(), NOON))) == (
        "no sink answers at http://a/status: \\x1b[2J[bold]x\n"
    )


STORED = [
    TopicStatus(
        "posts.classified",
        1_000.0,
        datetime(2026, 3, 1, 11, 57, tzinfo=UTC),
        (
            PartitionStatus(0, 100, 1_350, 1_250, 900.0, 0, ()),
            PartitionStatus(1, 100, 250, 100, 60.0, 50, ((10, 20), (30, 35))),
        ),
        (Gaps(1, "expired", 2, 40), Gaps(1, "lost", 1, 5)),
    ),
    TopicStatus("emotions.windows", None, None, (PartitionStatus(0, None, 0, 0, None, 0, ()),), ()),
]


def test_the_table_has_each_partition_and_the_totals() -> None:
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown(backlog_table(STORED)).splitlines()]
    assert [line for line in lines if line] == [
        ["posts.classified", "1,350", "15 min", "90 %", "15", "45"],
        ["partition 0", "1,250", "15 min", "", "0", "0"],
        ["partition 1", "100", "1 min", "", "15", "45"],
        ["emotions.windows", "0", "", "", "0", "0"],
        ["partition 0", "0", "", "", "0", "0"],
        ["total", "1,350", "15 min", "", "15", "45"],
    ]
    assert [one.in_danger for one in STORED] == [True, False]


def test_holes_are_named_one_by_one() -> None:
    lost = "are lost: neither Kafka nor Postgres has them"
    assert shown("\n".join([*written_lines(STORED, NOON), *hole_lines(STORED)])) == (
        "posts.classified: last written 3 min ago\n"
        "emotions.windows: nothing has been written yet\n"
        "posts.classified[1] 10 to 19: skipped; `emostream backfill` reads them again\n"
        "posts.classified[1] 30 to 34: skipped; `emostream backfill` reads them again\n"
        "posts.classified[1]: 50 offsets left Kafka before they were written; the sink will note them in sink_gaps\n"
        f"posts.classified[1]: 40 offsets in 2 ranges {lost} (expired; see sink_gaps)\n"
        f"posts.classified[1]: 5 offsets in 1 ranges {lost} (lost; see sink_gaps)\n"
    )


def test_the_json_has_all_that_the_tables_have() -> None:
    made = report(gate(), topic())
    document = json.loads(json.dumps(to_json([Answer("u", made), Answer("v", None, "away")], STORED)))
    assert document["sinks"] == [
        {"url": "u", "error": None, "report": json.loads(made.model_dump_json())},
        {"url": "v", "error": "away", "report": None},
    ]
    posts, windows = document["topics"]
    assert {key: posts[key] for key in posts if key != "partitions"} == {
        "topic": "posts.classified",
        "records": 1_350,
        "oldest_s": 900.0,
        "retention_s": 1_000.0,
        "retention_share": 0.9,
        "in_danger": True,
        "last_written_at": "2026-03-01T11:57:00+00:00",
        "gaps": [
            {"partition": 1, "reason": "expired", "ranges": 2, "offsets": 40},
            {"partition": 1, "reason": "lost", "ranges": 1, "offsets": 5},
        ],
    }
    assert posts["partitions"][1] == {
        "partition": 1,
        "next_offset": 100,
        "end_offset": 250,
        "records": 100,
        "oldest_s": 60.0,
        "expired": 50,
        "skipped": [{"first_offset": 10, "next_offset": 20}, {"first_offset": 30, "next_offset": 35}],
    }
    assert (windows["oldest_s"], windows["retention_share"], windows["last_written_at"]) == (None, None, None)
