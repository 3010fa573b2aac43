"""A server of feeds, which answers conditional requests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from tests.source_servers.http import HttpServer, Reply, Request


@dataclass
class Document:
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


class FeedServer(HttpServer):
    """Serves documents by their paths. A document has an `ETag` of its content unless it has its own headers."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, Document] = {}
        self.not_modified = 0

    def put(self, path: str, body: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> str:
        """Set the document of a path, and return its address."""
        self.documents[path] = Document(body, dict(headers or {}), status)
        return self.url + path

    async def answer(self, request: Request) -> Reply:
        document = self.documents.get(request.path)
        if document is None:
            return Reply(404)
        etag = document.headers.get("ETag", f'"{hashlib.sha256(document.body).hexdigest()[:12]}"')
        headers = {"Content-Type": "application/xml", "ETag": etag, **document.headers}
        if document.status == 200 and request.headers.get("if-none-match") == etag:
            self.not_modified += 1
            return Reply(304, headers={"ETag": etag})
        return Reply(document.status, document.body, headers)


def item(
    title: str,
    *,
    guid: str | None = None,
    link: str | None = None,
    date: datetime | str | None = None,
    text: str | None = None,
) -> str:
    """An item of RSS."""
    at = format_datetime(date) if isinstance(date, datetime) else date
    parts = (("title", title), ("guid", guid), ("link", link), ("pubDate", at), ("description", text))
    return f"<item>{''.join(f'<{name}>{escape(value)}</{name}>' for name, value in parts if value is not None)}</item>"


def rss(items: Iterable[str], *, head: str = "") -> bytes:
    """A document of RSS 2.0."""
    return (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:sy="http://purl.org/rss/1.0/modules/syndication/">'
        f"<channel><title>Feed</title><language>en-us</language>{head}{''.join(items)}</channel></rss>"
    ).encode()
