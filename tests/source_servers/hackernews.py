"""The API of Hacker News, and its search."""

from __future__ import annotations

import json
from typing import Any

from tests.source_servers.http import HttpServer, Reply, Request

START = 1_772_366_400


class HackerNewsServer(HttpServer):
    """Holds items. `null` items have a number and are not shown."""

    def __init__(self, *, first: int = 1_000, start: int = START) -> None:
        super().__init__()
        self.items: dict[int, dict[str, Any] | None] = {}
        self.newest = first
        self.start = start
        self.updates: list[int] = []

    def add(self, text: str, *, kind: str = "comment", **more: Any) -> int:
        """A new item."""
        self.newest += 1
        member = {"title": text} if kind in ("story", "job", "poll") else {"text": text}
        self.items[self.newest] = {
            "id": self.newest,
            "type": kind,
            "by": "norvig",
            "time": self.start + self.newest,
            **member,
            **more,
        }
        return self.newest

    def hide(self) -> int:
        """A number without an item."""
        self.newest += 1
        self.items[self.newest] = None
        return self.newest

    def change(self, number: int, **more: Any) -> None:
        item = self.items[number] or {}
        self.items[number] = {**item, **more}
        self.updates = [number, *(other for other in self.updates if other != number)][:100]

    def delete(self, number: int) -> None:
        self.items[number] = {"id": number, "deleted": True, "type": "comment", "time": self.start + number}
        self.updates = [number, *self.updates][:100]

    async def answer(self, request: Request) -> Reply:
        if request.path == "/v0/maxitem.json":
            return _json(self.newest)
        if request.path == "/v0/updates.json":
            return _json({"items": self.updates, "profiles": ["norvig"]})
        if request.path.startswith("/v0/item/"):
            return _json(self.items.get(int(request.path.removeprefix("/v0/item/").removesuffix(".json"))))
        if request.path == "/api/v1/search_by_date":
            return _json({"hits": self._hits(request)})
        return Reply(404)

    def _hits(self, request: Request) -> list[dict[str, Any]]:
        found = [item for item in self.items.values() if item and request.query["query"] in item.get("text", "")]
        for condition in filter(None, request.query.get("numericFilters", "").split(",")):
            if condition.startswith("created_at_i>="):
                found = [item for item in found if item["time"] >= int(condition.removeprefix("created_at_i>="))]
            else:
                found = [item for item in found if item["time"] <= int(condition.removeprefix("created_at_i<="))]
        newest = sorted(found, key=lambda item: item["time"], reverse=True)[: int(request.query["hitsPerPage"])]
        return [
            {
                "objectID": str(item["id"]),
                "author": item["by"],
                "created_at_i": item["time"],
                "comment_text": item["text"],
            }
            for item in newest
        ]


def _json(value: object) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
