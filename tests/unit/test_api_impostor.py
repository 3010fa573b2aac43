"""The client of the HTTP service, and `emostream query`, against a server that is not the service, or a newer one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from api.client import ApiError, AsyncClient, Client
from streams.cli import main

ANSWER: dict[str, Any] = {
    "keyword": "tea",
    "count": 1,
    "agg": [{"label": "joy", "count": 1, "pct": 100.0, "avg_score": 0.5}],
    "sentiment": None,
    "plot_base64": None,
    "source": "cache",
    "as_of": None,
    "since": "2026-03-01T00:00:00Z",
    "complete": True,
    "unsupported": 0,
    "notes": [],
    "time": 0.1,
}


class Impostor(ThreadingHTTPServer):
    """Answers each request with the same status, body and headers, whatever they are."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = 200, b""
        self.headers: dict[str, str] = {}
        self.seen: list[str | None] = []
        """The header `Last-Event-ID` of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Impostor

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(self.headers.get("Last-Event-ID"))
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(self.server.body)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[Impostor]:
    with Impostor() as opened:
        thread = Thread(target=opened.serve_forever, args=(0.01,))
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"{}", b"[" * 100_000, b'{"keyword":"\xff"}'])
async def test_an_answer_of_another_program_is_an_error_of_the_client(server: Impostor, body: bytes) -> None:
    server.body = body
    with Client(server.url) as client, pytest.raises(ApiError, match="POST /v1/query: the answer is not one of"):
        client.query("tea")
    async with AsyncClient(server.url) as other:
        with pytest.raises(ApiError, match="GET /v1/model: the answer is not one of"):
            await other.model()


def test_members_of_a_newer_service_are_left_out(server: Impostor) -> None:
    server.body = json.dumps({**ANSWER, "new": 1, "agg": [{**ANSWER["agg"][0], "new": 1}]}).encode()
    with Client(server.url) as client:
        assert client.query("tea").agg[0].count == 1


def test_a_time_to_wait_that_is_no_number_is_ignored(server: Impostor) -> None:
    server.status, server.headers = 503, {"Retry-After": "\xb2"}
    with Client(server.url) as client, pytest.raises(ApiError) as failure:
        client.query("tea")
    assert (failure.value.status, failure.value.retry_after_s) == (503, None)


@pytest.mark.parametrize("data", ["[]", "nothing", "1", '{"windows": 1}', "[" * 100_000])
async def test_a_message_that_cannot_be_read_ends_a_stream(server: Impostor, data: str) -> None:
    server.headers = {"Content-Type": "text/event-stream"}
    server.body = f"id: 1\nevent: update\ndata: {data}\n\n".encode()
    with Client(server.url) as client, pytest.raises(ApiError, match="the live stream has a message that is not"):
        next(client.follow("tea"))
    async with AsyncClient(server.url) as other:
        with pytest.raises(ApiError, match="the live stream has a message that is not"):
            await anext(other.follow("tea"))


def test_the_id_of_a_message_may_be_any_text(server: Impostor) -> None:
    server.headers = {"Content-Type": "text/event-stream"}
    server.body = "id: é\nevent: update\ndata: {}\n\n".encode()
    with Client(server.url) as client:
        found = client.follow("tea", last_id="a")
        assert [next(found).id, next(found).id] == ["é", "é"]
    assert server.seen[:2] == ["a", "Ã©"]  # the header has UTF-8; the server reads it as Latin-1


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    """Returns the exit code of `emostream query`, and what it prints."""
    with pytest.raises(SystemExit) as end:
        main(["query", *arguments])
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def test_the_command_says_in_a_line_what_is_wrong(server: Impostor, capsys: pytest.CaptureFixture[str]) -> None:
    server.body = b"<html>"
    code, _, printed = asked(capsys, "tea", "--url", server.url)
    assert (code, printed.count("\n")) == (1, 1)


def test_what_a_server_says_does_not_control_the_terminal(server: Impostor, capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"type": "about:blank", "title": "x", "status": 403, "detail": "no \x1b]0;title\x07\u202e"}
    server.status, server.body = 403, json.dumps(problem).encode()
    _, _, printed = asked(capsys, "tea", "--url", server.url)
    assert printed.endswith(r"403: no \x1b]0;title\x07\u202e" + "\n")


def test_a_share_that_cannot_be_is_shown_as_a_whole_bar(server: Impostor, capsys: pytest.CaptureFixture[str]) -> None:
    server.body = json.dumps({**ANSWER, "agg": [{**ANSWER["agg"][0], "pct": 1e300}]}).encode()
    code, printed, _ = asked(capsys, "tea", "--url", server.url)
    assert code == 0
    assert printed.count("█") == 30
