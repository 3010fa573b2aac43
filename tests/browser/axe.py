"""Looks for barriers in a page with axe-core, which the package axe-playwright-python brings."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from playwright.async_api import Page

# The rules of WCAG 2.2, levels A and AA, and those that axe recommends.
_RUN = """
async () => {
  const found = await axe.run(document, {
    resultTypes: ['violations'],
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  });
  return found.violations;
}
"""


@cache
def _script() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


async def barriers(page: Page) -> list[str]:
    """Returns the violations that axe finds, one line for each element.

    The script comes from the installed package through the debugger, so the policy of the page does not matter.
    """
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(f"() => {{ {_script()} }}")
    found: list[dict[str, Any]] = await page.evaluate(_RUN)
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:200]} {_why(node)}"
        for violation in found
        for node in violation["nodes"]
    ]


def _why(node: dict[str, Any]) -> str:
    checks = [*node.get("any", []), *node.get("all", []), *node.get("none", [])]
    return "; ".join(check["message"] for check in checks)


async def assert_no_barriers(page: Page) -> None:
    """Fail with every violation that axe finds in a page."""
    found = await barriers(page)
    assert found == [], "\n".join(found)
