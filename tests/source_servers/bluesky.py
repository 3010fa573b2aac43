"""The search of Bluesky, as the lexicon app.bsky.feed.searchPosts describes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.source_servers.http import HttpServer, Reply, Request

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class BlueskySearchServer(HttpServer):
    """Holds posts, and finds those that have all words of a question."""

    def __init__(self, *, start: datetime = START) -> None:
        super().__init__()
        self.start = start
        self.posts: list[dict[str, Any]] = []

    def add(self, text: str, *, langs: tuple[str, ...] = ("en",), tags: tuple[str, ...] = ()) -> str:
        """A new post, a second after the one before. Returns its id."""
        number = len(self.posts)
        at = (self.start + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
        uri = f"at://did:plc:author/app.bsky.feed.post/post{number}"
        record = {
            "$type": "app.bsky.feed.post",
            "text": text,
            "createdAt": at,
            "langs": list(langs),
            "tags": list(tags),
        }
        self.posts.append({"uri": uri, "author": {"did": "did:plc:author"}, "record": record, "indexedAt": at})
        return f"bluesky:{uri}"

    async def answer(self, request: Request) -> Reply:
        if request.path != "/xrpc/app.bsky.feed.searchPosts":
            return Reply(404)
        wanted = request.query["q"].strip('"').lower().split()
        since = request.query.get("since", "")
        found = [
            post
            for post in reversed(self.posts)
            if all(word in post["record"]["text"].lower() for word in wanted) and post["indexedAt"] >= since[:19]
        ]
        begin, limit = int(request.query.get("cursor", 0)), int(request.query["limit"])
        page = found[begin : begin + limit]
        more = {"cursor": str(begin + limit)} if begin + limit < len(found) else {}
        return Reply(200, json.dumps({"posts": page, **more}).encode(), {"Content-Type": "application/json"})
