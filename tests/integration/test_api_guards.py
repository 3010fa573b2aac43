"""Who may ask: keys, scopes, rates, origins and host names, and what the log says of them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from click.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from streams.cli import cli
from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.api_support import address_of, assert_problem

ANY_PORT = {"EMOSTREAM_API_PORT": "0"}


def new_key(env: dict[str, str], *arguments: str) -> str:
    """Make an API key with the command."""
    made = CliRunner().invoke(cli, ["keys", "add", *arguments], env=env)
    assert made.exit_code == 0, made.output
    (key,) = [line for line in made.stdout.split() if line.startswith("emo_")]
    return key


def test_pages_of_other_origins_and_other_host_names_are_refused_while_it_runs_open(
    start: Callable[..., Role], settings: Settings
) -> None:
    address = address_of(start("api", **ANY_PORT, EMOSTREAM_API_CORS_ORIGINS="https://board.example"))
    socket = f"{address.replace('http', 'ws')}/v1/live"
    for origin in "https://evil.example", "null", "http://127.0.0.1:1", "http://[":
        with pytest.raises(InvalidStatus) as refused, connect(socket, origin=Origin(origin)):
            pass
        assert refused.value.response.status_code == 403
        assert refused.value.response.headers["content-type"] == "application/problem+json"
    for allowed in None, address, "https://board.example":
        with connect(socket, origin=allowed if allowed is None else Origin(allowed)):
            pass
    with pytest.raises(InvalidStatus), connect(socket, additional_headers={"Host": "evil.example"}):
        pass
    with httpx.Client(base_url=address) as http:
        for path in "/v1/model", "/v1/keywords", "/v1/stream":
            assert_problem(http.get(path, headers={"Host": "evil.example"}), 403, "loopback names")
        assert_problem(
            http.post("/v1/query", content=b'{"keyword":"tea"}', headers={"Content-Type": "text/plain"}), 415, ""
        )
        for origin, allows in {"https://evil.example": None, "https://board.example": "https://board.example"}.items():
            answer = http.get("/v1/model", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allows
            assert "access-control-allow-credentials" not in answer.headers


def test_keys_open_what_their_scopes_say_and_are_not_logged(
    start: Callable[..., Role], settings: Settings, env: dict[str, str]
) -> None:
    reader = new_key(env, "reader", "--scope", "read")
    page = new_key(env, "page", "--scope", "read", "--scope", "live")
    few = new_key(env, "few", "--scope", "query", "--requests-per-minute", "3")
    service = start("api", **ANY_PORT)
    with httpx.Client(base_url=address_of(service), timeout=60) as http:
        for headers in {}, {"X-API-Key": reader[:-4] + "aaaa"}, {"Authorization": f"Basic {reader}"}:
            answer = http.get("/v1/model", headers=headers)
            assert_problem(answer, 401, "")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert http.get("/v1/model", headers={"X-API-Key": reader}).status_code == 200
        assert (
            http.get("/v1/model", headers={"Authorization": f"Bearer {reader}", "Host": "a.example"}).status_code == 200
        )
        assert_problem(http.post("/v1/query", json={"keyword": "tea"}, headers={"X-API-Key": reader}), 403, "query")
        # The dashboard reads without a key only itself. It sends the key in a header, also for the stream.
        assert http.get("/", follow_redirects=True).status_code == 200
        assert_problem(http.get("/v1/status"), 401, "")
        assert http.get("/v1/status", headers={"X-API-Key": page}).json()["version"]
        assert_problem(http.get("/v1/stream"), 401, "")
        assert_problem(http.get("/v1/stream", headers={"X-API-Key": reader}), 403, "live")
        with http.stream("GET", "/v1/stream", headers={"X-API-Key": page}) as stream:
            assert (stream.status_code, next(stream.iter_lines())) == (200, ": the stream has begun")
        answers = [http.post("/v1/query", json={"keyword": "tea"}, headers={"X-API-Key": few}) for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        assert_problem(answers[-1], 429, "3 requests a minute")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 70
        # A key in the address is neither accepted nor logged.
        assert_problem(http.get("/v1/model", params={"api_key": reader}), 401, "")
        socket = f"{address_of(service).replace('http', 'ws')}/v1/live?api_key={reader}"
        with pytest.raises(InvalidStatus) as refused, connect(socket):
            pass
        assert refused.value.response.status_code == 401
        http.post("/v1/query", content=b"{" + few.encode(), headers={"X-API-Key": few})
    assert service.stop() == 0
    log = service.log.read_text()
    for secret in reader, few, reader[-20:], settings.postgres_dsn.get_secret_value().partition("@")[0]:
        assert secret not in log
