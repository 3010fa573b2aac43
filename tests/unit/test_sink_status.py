"""The command `emostream sink status`: whom it asks, which answers it refuses, and what it prints."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from streams.cli.sink import sink as sink_command
from streams.cli.sink_status import backlog_table, hole_lines, sink_lines, written_lines
from streams.gate.rule import GateReason
from streams.sink.report import (
    BackfillReport,
)
from streams.sink.status import LARGEST_ANSWER, Answer, Gaps, PartitionStatus, TopicStatus, ask, default_urls, to_json
from tests.helpers import NOON, make_settings
from tests.sink_status_support import DANGER, Served, gate, report, served_fixture, topic  # noqa: F401 - fixtures


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
        "  backfill: 12 min ago; 40,000 rows checked, 3 holes, 120 rows and 0 windows filled, 1 gap\n"
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
    which = "which neither Kafka nor Postgres has"
    assert shown("\n".join([*written_lines(STORED, NOON), *hole_lines(STORED)])) == (
        "posts.classified: last written 3 min ago\n"
        "emotions.windows: nothing has been written yet\n"
        "posts.classified[1] 10 to 19: skipped; `emostream backfill` reads them again\n"
        "posts.classified[1] 30 to 34: skipped; `emostream backfill` reads them again\n"
        "posts.classified[1]: 50 offsets left Kafka before being written; the sink will record this in sink_gaps\n"
        f"posts.classified[1]: lost: 40 offsets in 2 ranges, {which} (expired; see sink_gaps)\n"
        f"posts.classified[1]: lost: 5 offsets in 1 range, {which} (lost; see sink_gaps)\n"
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
