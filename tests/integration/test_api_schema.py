"""Every answer of the service is one that its OpenAPI document describes, whatever a client sends."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.api_support import address_of, assert_problem

EXAMPLES = 15
"""Generated requests of each kind, valid and not, for each operation."""

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def http(start: Callable[..., Role], settings: Settings) -> Iterator[httpx.Client]:
    service = start("api", EMOSTREAM_API_PORT="0")
    with httpx.Client(base_url=address_of(service), timeout=60) as client:
        yield client


def test_every_answer_is_documented(http: httpx.Client) -> None:
    schema = schemathesis.openapi.from_url(f"{http.base_url}/openapi.json").exclude(path="/v1/stream")
    called = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.path_parameters or operation.body):
                continue  # it takes nothing that could be wrong

            @hypothesis_settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def run(case: schemathesis.Case[Any]) -> None:
                called.add(case.operation.label)
                # The service runs open, and a request that the document allows may ask about a time in the future.
                case.call_and_validate(excluded_checks=[ignored_auth, positive_data_acceptance])

            run()
    assert {"POST /v1/query", "POST /v1/predict", "GET /v1/windows/{keyword}", "GET /health/ready"} <= called


def test_malformed_requests(http: httpx.Client) -> None:
    """One service answers all of them, because it starts slowly."""
    question = json.dumps({"keyword": "tea"}).encode()
    for body, detail in {
        b"": "Invalid JSON",
        b"{": "Invalid JSON",
        b"null": "body: Input should be an object",
        b'{"keyword":"caf\xe9"}': "Invalid JSON",
        '{"keyword":"tea"}'.encode("utf-16"): "Invalid JSON",
        rb'{"keyword":"\ud800"}': "Invalid JSON",
        rb'{"keyword":"a\u0000b"}': "U+0000",
        rb'{"keyword":"\u2003\t"}': "body.keyword",
        b'{"keyword":' + b"[" * 100_000 + b"]" * 100_000 + b"}": "recursion limit",
        b'{"keyword":"tea","limit":' + b"9" * 5_000 + b"}": "out of range",
        b'{"keyword":"tea","limit":1e400}': "body.limit",
        b'{"keyword":"tea","limit":NaN}': "body.limit",
        b'{"keyword":"tea","since":"9999-12-31T23:59:59Z"}': "since: lies in the future",
        b'{"keyword":"tea","since":"9999-12-31T23:59:59-14:00"}': "years 1 to 9999",
        b'{"keyword":"tea","since":"0001-01-01T00:00:00+14:00"}': "years 1 to 9999",
        b'{"keyword":"tea","since":"0001-01-01T00:00:00Z"}': "since: is before 1970",
        b'{"keyword":"tea","since":1e300}': "body.since",
        b"{" + b",".join(b'"k%d":1' % number for number in range(20_000)) + b"}": "and 20000 more",
    }.items():
        answer = http.post("/v1/query", content=body, headers=JSON)
        assert_problem(answer, 422, detail)
        assert len(answer.content) < 10_000
    bomb = gzip.compress(b'{"keyword":"' + b"a" * 10_000_000 + b'"}')
    for content in bomb, gzip.compress(question):
        answer = http.post("/v1/query", content=content, headers={**JSON, "Content-Encoding": "gzip"})
        assert_problem(answer, 415, "must not be compressed")
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]:
        assert_problem(
            http.post("/v1/query", content=question, headers={"Content-Type": kind}), 415, "application/json"
        )
    assert_problem(http.post("/v1/query", content=b" " * 2_000_000, headers=JSON), 413, "1048576 bytes")

    for path, detail in {
        "/v1/windows/tea?since=9999-12-31T23:59:59-14:00": "years 1 to 9999",
        "/v1/windows/tea?since=0001-01-01T00:00:00%2B14:00": "years 1 to 9999",
        "/v1/windows/tea?limit=1&limit=5000": "query.limit",
        "/v1/windows/%00": "U+0000",
        f"/v1/windows/{'x' * 20_000}": "path.keyword",
        "/v1/posts?keyword=%00": "U+0000",
        "/v1/posts?label=%00": "U+0000",
        "/v1/posts?before=99999999999999999999999999-1-1": "before",
        "/v1/stream?keyword=%00": "U+0000",
        "/v1/stream?" + "keyword=a&" * 60: "query.keyword",
    }.items():
        assert_problem(http.get(path), 422, detail)
    assert http.get("/v1/windows/tea?limit=5000&limit=5").status_code == 200  # the last one counts
    assert_problem(
        http.get("/v1/windows/%ff?size=99999999999999999999"), 422, "no windows of this size; known are 60, "
    )
    assert http.get("/v1/windows/%ff?size=60").json() == {"windows": []}
    unknown = http.get("/v1/posts?label=hunger")
    assert_problem(unknown, 422, "query.label: no served model has this label; known are ")
    assert "joy" in unknown.json()["errors"][0]["what"]
    assert http.get("/v1/posts?label=joy").status_code == 200

    # HEAD is GET without the body; the stream would not end.
    head, get = http.head("/v1/model"), http.get("/v1/model")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", get.headers["etag"])
    assert http.head("/v1/stream").status_code == 405
    for method in "OPTIONS", "TRACE", "PUT", "DELETE":
        assert_problem(http.request(method, "/v1/model"), 405, "Method Not Allowed")
    assert_problem(http.get("/v1/model/"), 404, "Not Found")

    address = urlsplit(str(http.base_url))
    for raw, status in {
        b"GET /v1/model HTTP/1.0": 200,
        b"GET http://other.example/v1/model HTTP/1.1\r\nHost: localhost": 200,
        b"GET /v1/model HTTP/1.1\r\nHost: other.example\r\nHost: localhost": 403,
        b"GET /v1/model?\xff HTTP/1.1\r\nHost: localhost": 400,
        b"FOO /v1/model HTTP/1.1\r\nHost: localhost": 400,
        b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked": 400,
        b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999": 400,
        b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 70_000: 431,
    }.items():
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as connection:
            connection.sendall(raw + b"\r\nConnection: close\r\n\r\n")
            assert connection.makefile("rb").readline().split()[1] == str(status).encode(), raw
    assert http.get("/health/live").json() == {"status": "alive"}
