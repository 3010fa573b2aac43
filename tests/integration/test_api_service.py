"""The HTTP service as a process: how it starts, stops, refuses to run open, and answers errors."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import httpx
import psutil
import pytest

from connectors.local.ports import choose, is_free
from streams.ops.demo.processes import Role
from streams.records import EmotionWindow
from streams.windows.store import WindowStore
from tests.helpers import wait_for
from tests.integration.api_support import address_of, assert_problem, client_of
from tests.integration.window_store_support import apply_all, of

pytestmark = pytest.mark.usefixtures("settings")

ANY_PORT = {"EMOSTREAM_API_PORT": "0"}

KEYWORDS = ["a|b", "[sale]", "foo*", "what?", "back\\slash", "60|1772366400000|x", "naïve café", "%2F..%2F", "C++"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(start: Callable[..., Role], number: signal.Signals) -> None:
    service = start("api", **ANY_PORT)
    with client_of(service) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
    service._process.send_signal(number)
    assert service.wait(60) == 0


def test_it_does_not_run_open_on_other_addresses(start: Callable[..., Role]) -> None:
    service = start("api", "--host", "0.0.0.0", **ANY_PORT)
    assert service.wait(120) == 1
    assert "emostream keys add" in service.log.read_text()


def test_it_runs_open_if_it_is_told_to(start: Callable[..., Role]) -> None:
    service = start("api", "--host", "0.0.0.0", **ANY_PORT, EMOSTREAM_API_ALLOW_OPEN="true")
    with client_of(service) as client:
        assert client.get("/health/live").status_code == 200
    assert "runs open" in service.log.read_text()


def test_a_port_in_use_is_one_line(start: Callable[..., Role]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start("api", "--port", str(taken.getsockname()[1]))
        assert service.wait(120) == 1
    assert "EMOSTREAM_API_PORT" in service.log.read_text().splitlines()[-1]


def test_several_processes_share_a_port_and_one_that_is_killed_is_started_again(start: Callable[..., Role]) -> None:
    free = choose(["first"], {}, set(), lambda port: all(map(is_free, range(port, port + 3))))["first"]
    port, own = free, (free + 1, free + 2)
    service = start("api", "--port", str(port), "--processes", "2", "--metrics-port", str(own[0]))
    wait_for(lambda: service.log.read_text().count("the HTTP service listens") == 2, 180)
    address = address_of(service)
    killed = next(one for one in psutil.Process(service.pid).children() if "api-1" in one.cmdline())
    assert [restarts_of(metrics) for metrics in own] == [0, 0]
    # Each request has a new connection, and the system chooses who gets it.
    wait_for(lambda: asked(address) and all(requests_of(metrics) > 0 for metrics in own), 180)
    killed.kill()
    wait_for(lambda: service.log.read_text().count("the HTTP service listens") == 3, 180)
    assert [restarts_of(metrics) for metrics in own] == [0, 1]
    assert f"api-1 (pid {killed.pid}) was killed by SIGKILL; it is started again in 1 s (restart 1)" in (
        service.log.read_text()
    )
    wait_for(lambda: asked(address) and requests_of(own[1]) > 0, 180)
    assert service.stop() == 0


def asked(address: str) -> bool:
    return httpx.get(f"{address}/health/live").status_code == 200


def requests_of(port: int) -> float:
    """Returns the requests that the process with this port for metrics has answered."""
    return value_of(port, 'emostream_http_requests_total{method="GET",route="/health/live",status="200"}')


def restarts_of(port: int) -> float:
    return value_of(port, "emostream_http_process_restarts_total")


def value_of(port: int, name: str) -> float:
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(f"{name} "))


async def test_the_windows_of_a_keyword(start: Callable[..., Role], store: WindowStore) -> None:
    await apply_all(store, [of(0, 1, *KEYWORDS)], 1)
    service = start("api", **ANY_PORT)
    with client_of(service) as client:
        for keyword in KEYWORDS:
            answer = client.get(f"/v1/windows/{_percent(keyword)}", params={"size": 60})
            (window,) = answer.json()["windows"]
            assert EmotionWindow.from_fields(window).keyword == keyword
        again = client.get(str(answer.url), headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get("/v1/windows/unknown").json() == {"windows": []}
        assert client.get("/health/ready").json()["status"] == "ready"
        assert client.get("/docs").status_code == 200
        metrics = client.get("/metrics").text
    assert 'emostream_http_requests_total{method="GET",route="/v1/windows/{keyword:path}",status="304"} 1.0' in metrics


def test_errors_have_one_shape(start: Callable[..., Role]) -> None:
    service = start("api", **ANY_PORT, EMOSTREAM_API_MAX_BODY_BYTES="2000")
    with client_of(service) as client:
        assert_problem(client.get("/nothing"), 404, "Not Found")
        assert_problem(client.post("/health/live"), 405, "Method Not Allowed")
        assert_problem(client.get("/v1/windows/x", params={"limit": 0}), 422, "query.limit")
        assert_problem(client.get("/v1/windows/x", params={"since": "yesterday"}), 422, "query.since")
        assert_problem(client.post("/v1/windows/x", content=b"x" * 3000), 413, "2000 bytes")
        chunked = client.post("/v1/windows/x", content=iter([b"x" * 1500, b"x" * 1500]))
        assert chunked.status_code in {405, 413}


def _percent(keyword: str) -> str:
    return "".join(f"%{byte:02X}" for byte in keyword.encode())
