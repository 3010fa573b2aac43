"""Helpers for the sink's SQL: column lists, staging tables, and statements that run once per row.

The modules `posts_sql`, `windows_sql`, `erasures_sql`, `offsets_sql`, `ledger_sql` and `topic_ids` have the statements
on the tables. Each function in them runs inside a transaction that its caller has opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connectors.postgres import Connection
from streams.sink.rows import Columns, Row


def column_list(names: Iterable[str]) -> str:
    """Returns the names as they are written in a statement, separated by commas."""
    return ", ".join(names)


def fetch_all(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a query with `values` as its parameters, and return all rows."""
    return connection.execute(statement, values).fetchall()


def execute_each(connection: Connection, statement: str, rows: Iterable[Row]) -> None:
    """Execute a statement once for each row of parameters.

    `executemany` would send the statements as a pipeline. If the process is paused in the middle of a pipeline, the
    server sees a busy session instead of one that is idle in a transaction. It would never end the session, which keeps
    its locks.
    """
    for row in rows:
        connection.execute(statement, row)


def copy_to_staging_table(connection: Connection, name: str, table: str, columns: Columns, rows: Iterable[Row]) -> None:
    """COPY rows into the staging table `name`, which has the columns of `table` and is emptied by the commit."""
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} (LIKE {table}) ON COMMIT DELETE ROWS")
    statement = f"COPY {name} ({column_list(columns)}) FROM STDIN (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)
