"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in a page that say this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def python_snippets() -> dict[str, str]:
    """The Python in all pages, by the page and the number of the block in it."""
    return {
        f"{page_name(page)}#{number}": code
        for page in PAGES
        for number, code in enumerate(blocks(page.read_text("utf-8"), "python"))
    }
