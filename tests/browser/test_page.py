"""The page in a real browser: it loads under its strict policy, at each of its addresses."""

from __future__ import annotations

import httpx

from api.pages import CONTENT_SECURITY_POLICY, PAGE_PATHS, read_pages
from tests.browser.axe import assert_no_barriers, barriers
from tests.browser.chromium import PageProblems
from tests.browser.conftest import OpenPage, Screenshot
from tests.browser.live_system import LiveSystem
from tests.browser.waiting import until_true

MOST_BYTES = 250_000
"""The most bytes of all files of the page, as they are sent."""


def test_all_files_together_are_small() -> None:
    files = {id(file): file for file in read_pages().values()}.values()
    assert files, "api/static has no page: make dashboard"
    total = sum(len(file.compressed or file.body) for file in files)
    assert total < MOST_BYTES


async def test_every_address_loads_without_errors(
    stack_api: LiveSystem, open_page: OpenPage, screenshot: Screenshot
) -> None:
    """Errors, exceptions and violations of the policy fail the test in its fixture."""
    for path in PAGE_PATHS:
        page = await open_page()
        answer = await page.goto(f"{stack_api.address}{path}?keyword=coffee")
        assert answer is not None
        assert answer.status == 200
        assert (await answer.all_headers())["content-security-policy"] == CONTENT_SECURITY_POLICY
        await until_true(page, "document.body.innerText.trim().length > 0")
        assert await page.title() != ""
        assert await page.evaluate("location.pathname") == path
        await screenshot(page, f"page{path.replace('/', '-')}")


async def test_the_page_has_no_barriers(stack_api: LiveSystem, open_page: OpenPage) -> None:
    for scheme in ("light", "dark"):
        page = await open_page(f"{stack_api.address}/", color_scheme=scheme)
        await until_true(page, "document.body.innerText.trim().length > 0")
        await assert_no_barriers(page)


async def test_axe_finds_barriers_under_the_policy(stack_api: LiveSystem, open_page: OpenPage) -> None:
    page = await open_page(f"{stack_api.address}/")
    await page.evaluate("document.body.append(new Image())")
    assert any(line.startswith("image-alt") for line in await barriers(page))


async def test_violations_of_the_policy_are_noticed(
    stack_api: LiveSystem, open_page: OpenPage, problems: PageProblems
) -> None:
    page = await open_page(f"{stack_api.address}/")
    assert problems.found() == []
    # What an injected script would try: run inline, and send data to elsewhere.
    await page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'document.title = "injected"';
            document.body.append(script);
            return fetch('http://127.0.0.1:9/').catch(() => null);
        }"""
    )
    found = "\n".join(problems.found())
    assert "violates the following Content Security Policy directive 'script-src 'self''" in found
    assert "violates the document's Content Security Policy" in found
    assert await page.title() != "injected"
    problems.allow("Content Security Policy")


async def test_a_page_of_another_name_gets_no_data(stack_api: LiveSystem, page: object) -> None:
    """A name that resolves to the loopback address (DNS rebinding) gets the page, which holds no data, and no data."""
    del page
    async with httpx.AsyncClient(base_url=stack_api.address, headers={"Host": "evil.example"}) as client:
        assert (await client.get("/")).status_code == 200
        for path in ("/v1/status", "/v1/keywords", "/v1/stream"):
            assert (await client.get(path)).status_code == 403


async def test_a_page_can_read_the_live_stream_by_fetch(stack_api: LiveSystem, open_page: OpenPage) -> None:
    """An EventSource sends no headers, so the page reads the stream by fetch, with the key in a header."""
    page = await open_page(f"{stack_api.address}/")
    status, kind, begin = await page.evaluate(
        """async () => {
            const found = await fetch('/v1/stream?kind=post', {headers: {'X-API-Key': 'emo_x'}});
            const reader = found.body.getReader();
            const {value} = await reader.read();
            await reader.cancel();
            return [found.status, found.headers.get('content-type'), new TextDecoder().decode(value)];
        }"""
    )
    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    assert begin.startswith(": the stream has begun\n\n")
