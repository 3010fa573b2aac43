"""A real Chromium, and the whole application for it to look at.

One browser serves all tests of a process, so these tests and their fixtures share one event loop. Each test has a
context of its own, without storage or cache of another one. A missing browser fails the tests; nothing is skipped.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from connectors.local import Endpoints
from tests.browser.chromium import NoBrowserError, PageProblems, running_chromium
from tests.browser.live_system import LiveSystem, live_system
from tests.integration.conftest import model_uri, new_env

__all__ = ["model_uri"]

TIMEOUT_MS = 120_000
"""Milliseconds after which a wait in a page fails. It is far above what any wait takes."""

SCREENSHOTS = os.environ.get("EMOSTREAM_TEST_SCREENSHOTS")
"""The folder that keeps the screenshots; empty for that of the test, which pytest removes."""

expect.set_options(timeout=TIMEOUT_MS)

OpenPage = Callable[..., Awaitable[Page]]
"""Opens a page in a context of its own. Named arguments are those of Playwright's `Browser.new_context`."""

Screenshot = Callable[[Page, str], Awaitable[Path]]
"""Writes what a page shows into a PNG file with this name, and returns its path."""

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def endpoints(shared_endpoints: Endpoints) -> Endpoints:
    return shared_endpoints


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    try:
        async with running_chromium() as found:
            yield found
    except NoBrowserError as exc:
        pytest.fail(str(exc), pytrace=False)


@pytest.fixture
def problems() -> Iterator[PageProblems]:
    """What goes wrong in the pages of a test. Anything that the test does not allow fails it."""
    found = PageProblems()
    yield found
    assert found.found() == []


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, problems: PageProblems) -> AsyncIterator[OpenPage]:
    """Opens pages, each in a context of its own; all are closed at the end of the test."""
    contexts: list[BrowserContext] = []

    async def opened(url: str | None = None, **options: Any) -> Page:
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = await context.new_page()
        problems.watch(page)
        if url is not None:
            await page.goto(url)
        return page

    yield opened
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: OpenPage) -> Page:
    """An empty page of 1280 by 900 pixels, in light colours."""
    return await open_page()


@pytest.fixture
def screenshot(tmp_path: Path) -> Screenshot:
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path

    async def taken(page: Page, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        await page.screenshot(path=path, animations="disabled")
        return path

    return taken


@pytest.fixture(scope="module")
def stack_api(endpoints: Endpoints, model_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSystem]:
    """The whole application, over the real servers, with ten posts a second. The tests of a module share it."""
    with (
        new_env(endpoints, model_uri, tmp_path_factory) as env,
        live_system(env, tmp_path_factory.mktemp("live-system")) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def empty_api(endpoints: Endpoints, model_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSystem]:
    """The same without posts."""
    with (
        new_env(endpoints, model_uri, tmp_path_factory) as env,
        live_system(env, tmp_path_factory.mktemp("empty-system"), rate=0) as found,
    ):
        yield found
