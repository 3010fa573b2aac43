"""Finds and starts Chromium, and notes what goes wrong in its pages."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright

COMMANDS = ("chromium", "chromium-browser", "google-chrome")

INSTALL = (
    "no Chromium was found: neither {} is on the PATH, nor has Playwright its own; install one with "
    "`apt-get install chromium` or `.venv/bin/playwright install chromium`"
)


class NoBrowserError(Exception):
    """There is no Chromium. The message says how to install it."""


def find(own: str) -> str:
    """Returns the path of the Chromium on the PATH, else of Playwright's `own`.

    Raises:
        NoBrowserError: There is none.
    """
    found = next((path for name in COMMANDS if (path := shutil.which(name)) is not None), own)
    if not Path(found).exists():
        raise NoBrowserError(INSTALL.format(", ".join(COMMANDS)))
    return found


@asynccontextmanager
async def running_chromium(*arguments: str) -> AsyncIterator[Browser]:
    """A Chromium without a window: the one on the PATH, else Playwright's own.

    Args:
        arguments: more arguments of its command line.

    Raises:
        NoBrowserError: There is none.
    """
    # Its sandbox does not work for root. Everybody else has it.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        executable = find(playwright.chromium.executable_path)
        browser = await playwright.chromium.launch(
            executable_path=executable, args=[*sandbox, *arguments], headless=True, timeout=180_000
        )
        try:
            yield browser
        finally:
            await browser.close()


class PageProblems:
    """What went wrong in pages: errors on the console, among them violations of the policy, and exceptions."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._allowed: list[re.Pattern[str]] = []

    def allow(self, pattern: str) -> None:
        """Expect problems that match a regular expression, for example while a test stops the service."""
        self._allowed.append(re.compile(pattern))

    def found(self) -> list[str]:
        """Returns the problems that no test has expected."""
        return [one for one in self._found if not any(pattern.search(one) for pattern in self._allowed)]

    def watch(self, page: Page) -> None:
        """Note the problems of a page. Call it before the page loads anything."""
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._found.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: Error) -> None:
        self._found.append(f"exception: {error.stack or error.message}")
