"""The files of the dashboard: what is served, with which headers, and what is not."""

from __future__ import annotations

import gzip
import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.app import create_app
from api.metrics import ApiMetrics
from api.outer_middleware import OuterMiddleware
from api.pages import CONTENT_SECURITY_POLICY, PAGE_PATHS, PageMiddleware, accepts_gzip, read_pages
from tests.helpers import make_settings

ROOT = Path(__file__).parents[2]

SCRIPT = b"console.log('a script that is long enough to be shorter as gzip');\n" * 20
INDEX = b'<!doctype html><script type="module" src="/assets/index-abc.js"></script>' + b"<p>text</p>" * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static/assets").mkdir(parents=True)
    (tmp_path / "static/index.html").write_bytes(INDEX)
    (tmp_path / "static/favicon.svg").write_bytes(b"<svg/>")
    (tmp_path / "static/assets/index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "secret.txt").write_bytes(b"a secret")
    return tmp_path / "static"


async def _service(_request: Request) -> Response:
    return PlainTextResponse("of the service")


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    service = Starlette(routes=[Route("/v1/model", _service)])
    app = OuterMiddleware(PageMiddleware(service, read_pages(folder)), metrics=ApiMetrics(), max_body_bytes=1_000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as opened:
        yield opened


async def test_the_page_has_each_of_its_addresses_and_a_strict_policy(client: httpx.AsyncClient) -> None:
    for path in PAGE_PATHS:
        answer = await client.get(path, params={"keyword": "tea"})
        assert (answer.status_code, answer.content) == (200, INDEX)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_policy_allows_nothing_unsafe() -> None:
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY


async def test_assets_stay_in_caches_and_are_compressed_once(client: httpx.AsyncClient) -> None:
    answers = []
    for encoding in ("gzip, br", "identity"):
        async with client.stream("GET", "/assets/index-abc.js", headers={"Accept-Encoding": encoding}) as answer:
            answers.append((answer.headers, b"".join([part async for part in answer.aiter_raw()])))
    (headers, compressed), (plain_headers, plain) = answers
    assert plain == SCRIPT == gzip.decompress(compressed)
    assert headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain_headers
    assert int(headers["content-length"]) == len(compressed) < len(plain) == int(plain_headers["content-length"])
    for one in (headers, plain_headers):
        assert one["cache-control"] == "public, max-age=31536000, immutable"
        assert one["content-type"] == "text/javascript; charset=utf-8"
        assert one["vary"] == "Accept-Encoding"
    assert (await client.get("/favicon.svg")).headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/", "/favicon.svg", "/assets/index-abc.js"])
async def test_a_client_that_has_a_file_gets_304(client: httpx.AsyncClient, path: str) -> None:
    etag = (await client.get(path)).headers["etag"]
    again = await client.get(path, headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_head_and_other_methods(client: httpx.AsyncClient) -> None:
    assert int((await client.head("/")).headers["content-length"]) < len(INDEX)
    refused = await client.post("/alerts")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert refused.headers["content-type"] == "application/problem+json"


# The client would resolve dots that are not encoded by itself.
@pytest.mark.parametrize(
    "path", ["/assets/unknown.js", "/assets/", "/assets/%2e%2e/index.html", "/assets/%2e%2e/%2e%2e/secret.txt"]
)
async def test_there_is_nothing_but_the_files(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


@pytest.mark.parametrize("path", ["/index.html", "/static/index.html", "/secret.txt", "/keywords/", "//"])
async def test_the_service_answers_all_other_paths(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"http://test{path}")).headers["content-type"].startswith("text/plain")
    assert (await client.get("/v1/model")).text == "of the service"


async def test_requests_are_counted_by_route_and_not_by_name(folder: Path) -> None:
    metrics = ApiMetrics()
    app = OuterMiddleware(PageMiddleware(Starlette(), read_pages(folder)), metrics=metrics, max_body_bytes=1_000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path in ("/", "/ask", "/assets/index-abc.js", "/assets/made-up.js"):
            await client.get(path)
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for metric in metrics.requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    assert counted == {("/", "200"): 2, ("/assets/{name}", "200"): 1, ("/assets/{name}", "404"): 1}


async def test_without_a_page_the_service_answers_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        files = read_pages(tmp_path / "missing")
    assert files == {}
    assert "make dashboard" in caplog.records[0].message
    app = PageMiddleware(Starlette(routes=[Route("/", _service)]), files)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/")).text == "of the service"
        assert (await client.get("/assets/x.js")).status_code == 404


def test_a_page_without_one_of_its_assets_is_not_served(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "assets/index-abc.js").unlink()
    with caplog.at_level(logging.ERROR):
        assert read_pages(folder) == {}
    assert "no assets/index-abc.js" in caplog.records[0].message


@pytest.mark.parametrize(
    ("header", "accepts"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.0", False)],
)
def test_who_reads_gzip(header: str, accepts: bool) -> None:
    assert accepts_gzip(header) is accepts


@pytest.mark.parametrize("kind", [WheelBuilder, SdistBuilder])
def test_packages_contain_the_page(tmp_path: Path, kind: type[WheelBuilder | SdistBuilder]) -> None:
    for name in ("pyproject.toml", ".gitignore", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    forced = ("init_db/x.sql", "scripts/demo_posts.jsonl", "docs/tableau/emostream.twb")
    for name in ("api/__init__.py", "api/static/index.html", "api/static/assets/index-abc.js", *forced):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    included = {one.relative_path for one in kind(str(tmp_path)).recurse_included_files()}
    assert included >= {"api/__init__.py", "api/static/index.html", "api/static/assets/index-abc.js"}


async def test_the_documentation_of_the_service_does_not_list_the_page(folder: Path) -> None:
    resources: Any = SimpleNamespace(settings=make_settings(), metrics=ApiMetrics())
    transport = httpx.ASGITransport(create_app(resources, read_pages(folder)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert "/v1/status" in paths
        assert not [path for path in paths if path in PAGE_PATHS or path.startswith("/assets")]
        # Its own page has scripts in it, so it must not have the policy of the dashboard.
        documentation = await client.get("/docs")
        assert documentation.status_code == 200
        assert "content-security-policy" not in documentation.headers
