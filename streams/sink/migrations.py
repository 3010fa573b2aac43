"""The SQL migrations: the folder of their files, and the version that a database has."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from connectors.postgres import Connection
from streams.errors import EmostreamError
from streams.sink.sql import fetch_all


def migrations_folder() -> Path:
    """Returns the folder `init_db/` of the checkout, or its copy in an installed package.

    Raises:
        EmostreamError: Neither folder exists.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_init_db", package.parent / "init_db"):
        if folder.is_dir():
            return folder
    raise EmostreamError("the folder init_db/ with the SQL migrations is missing from this installation; reinstall it")


def schema_version(connection: Connection) -> int | None:
    """Returns the highest version of the migrations that were applied; None if the database has no schema."""
    [[exists]] = fetch_all(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL")
    if not exists:
        return None
    [[version]] = fetch_all(connection, "SELECT max(version) FROM schema_migrations")
    return cast("int | None", version)
