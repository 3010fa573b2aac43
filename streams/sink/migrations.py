"""Where the SQL migrations lie."""

from __future__ import annotations

from pathlib import Path

from streams.errors import EmostreamError


def migrations_folder() -> Path:
    """`init_db/` of the checkout, or its copy inside an installed package.

    Raises:
        EmostreamError: neither is there.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_init_db", package.parent / "init_db"):
        if folder.is_dir():
            return folder
    raise EmostreamError("the folder init_db/ with the SQL migrations is missing from this installation")
