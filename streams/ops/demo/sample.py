"""The posts that come with the project."""

from __future__ import annotations

from pathlib import Path


def sample_posts() -> Path:
    """A few hundred posts in JSON lines: in an installed package its copy, else that of the checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_demo_posts.jsonl"
    return installed if installed.is_file() else package.parent / "scripts" / "demo_posts.jsonl"
