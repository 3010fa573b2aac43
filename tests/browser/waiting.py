"""Waits for something in a page.

Playwright's `wait_for_function` evaluates its text again in the page, which a strict Content Security Policy forbids
after the first time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Page

WAIT_S = 120.0
"""Seconds after which a wait fails. It is far above what any wait takes."""


async def until_true(page: Page, expression: str, arg: Any = None) -> None:
    """Wait until an expression, or a function of `arg`, is true in the page.

    Raises:
        TimeoutError: It was not within `WAIT_S` seconds.
    """
    async with asyncio.timeout(WAIT_S):
        while not await page.evaluate(expression, arg):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # nothing but the page knows
