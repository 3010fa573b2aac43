"""Asking in the page: an answer from the windows, one from a network, and a keyword that is followed with a click."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from connectors.local import Endpoints
from streams.ingest.keywords.store import read_keywords
from tests.browser.axe import assert_no_barriers
from tests.browser.conftest import OpenPage, Screenshot
from tests.browser.live_system import LiveSystem, live_system
from tests.fetch_support import table
from tests.integration.conftest import new_env
from tests.source_servers.hackernews import HackerNewsServer
from tests.source_servers.threaded import threaded

JOY, ANGER = "espresso, what a lovely day, I am so happy", "I am so angry about this espresso"


@pytest.fixture(scope="module")
def system(endpoints: Endpoints, model_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSystem]:
    """The whole application, with a network that has posts about espresso."""
    folder = tmp_path_factory.mktemp("ask")
    with threaded(HackerNewsServer()) as network, new_env(endpoints, model_uri, tmp_path_factory) as env:
        for text in [JOY] * 5 + [ANGER] * 3:
            network.call(lambda server, text=text: server.add(text))  # type: ignore[misc]
        sources = folder / "sources.toml"
        sources.write_text(table("hackernews", network.server.url))
        with live_system(env, folder, EMOSTREAM_QUERY_SOURCES=str(sources)) as found:
            yield found


async def test_a_question_is_typed_its_posts_are_fetched_and_the_keyword_is_followed(
    system: LiveSystem, open_page: OpenPage, screenshot: Screenshot
) -> None:
    page = await open_page(f"{system.address}/ask")
    await page.get_by_label("Keyword").fill("espresso")
    await page.get_by_role("button", name="Ask", exact=True).click()
    await expect(page.get_by_role("heading", name="8 posts")).to_be_visible()
    await expect(page.get_by_text("Posts were searched for, and classified at once.")).to_be_visible()
    await expect(page.locator(".lead-fact")).to_have_text("Joy 63 %")
    await expect(page).to_have_url(f"{system.address}/ask?keyword=espresso")
    await page.locator(".canvas[data-ready=true]").wait_for()

    await page.get_by_role("button", name="Follow", exact=True).click()
    await expect(page.get_by_text("espresso is followed.")).to_be_visible()
    await screenshot(page, "ask")
    assert list(read_keywords(system.settings).by_fold) == ["espresso"]

    # The address alone shows the same.
    again = await open_page(page.url, color_scheme="dark", viewport={"width": 360, "height": 740})
    await expect(again.get_by_role("heading", name="8 posts")).to_be_visible()
    await expect(again.get_by_text("espresso is followed.")).to_be_visible()
    assert await again.evaluate("document.documentElement.scrollWidth") <= 360
    await again.locator(".canvas[data-ready=true]").wait_for()
    await screenshot(again, "ask-narrow-dark")
    for one in page, again:
        await assert_no_barriers(one)


async def test_a_keyword_that_nobody_writes_about_has_an_answer(system: LiveSystem, open_page: OpenPage) -> None:
    page = await open_page(f"{system.address}/ask?keyword=zzyzx")
    await expect(page.get_by_role("heading", name="No posts")).to_be_visible()
    await expect(page.get_by_text("Nobody follows zzyzx yet.")).to_be_visible()
