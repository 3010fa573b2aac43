"""The posts that come with the project."""

from __future__ import annotations

from pathlib import Path


def sample_posts() -> Path:
    """Returns the file of 360 posts in JSON lines: that of the installed package, or else that of the checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_demo_posts.jsonl"
    return installed if installed.is_file() else package.parent / "scripts" / "demo_posts.jsonl"
