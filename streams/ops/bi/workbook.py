"""Writes the Tableau workbook for a database: the one of docs/tableau with another address in it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import quoteattr

from psycopg.conninfo import conninfo_to_dict

from connectors.postgres import postgres_errors

_CONNECTION = re.compile(r"<connection [^>]*class='postgres'[^>]*/>")
_CAPTION = re.compile(r"(?<=<named-connection caption=)'[^']*'")


def template() -> Path:
    """Returns the workbook that connects to localhost: that of the installed package, or else that of the checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_emostream.twb"
    return installed if installed.is_file() else package.parent / "docs" / "tableau" / "emostream.twb"


def write_workbook(dsn: str, path: Path) -> None:
    """Write a workbook that connects to the server, port, database and user of an address. It holds no password.

    Args:
        dsn: a libpq address; libpq's defaults stand for what it leaves out.
        path: the file; its folder is created if it does not exist.

    Raises:
        RejectedError: libpq cannot read the address.
        OSError: The file cannot be written.
    """
    with postgres_errors("reading its address"):
        found = conninfo_to_dict(dsn)
    user = str(found.get("user", "tableau"))
    server = str(found.get("host", "localhost"))
    attributes = {
        "server": server,
        "port": str(found.get("port", 5432)),
        "dbname": str(found.get("dbname", user)),
        "username": user,
    }

    def connection(match: re.Match[str]) -> str:
        element = match[0]
        for name, value in attributes.items():
            element = re.sub(rf"(?<= {name}=)'[^']*'", lambda _: quoteattr(value), element)  # noqa: B023 - used at once
        return element

    text = _CONNECTION.sub(connection, template().read_text("utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_CAPTION.sub(lambda _: quoteattr(server), text), "utf-8")
