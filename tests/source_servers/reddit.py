"""Reddit's tokens, listings and search, as its API documents them and its published source code makes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from connectors.sources.reddit import Credentials, RedditOptions
from tests.source_servers.http import HttpServer, Reply, Request

START = 1_772_366_400
CLIENT_ID = "client-id"
CLIENT_SECRET = "client-secret"
USERNAME = "a_user"
PASSWORD = "pass word&1"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
KINDS = {"comments": "t1", "new": "t3"}


def reddit_options(server: RedditServer) -> RedditOptions:
    """The options of a source of the comments of r/coffee at a server."""
    return RedditOptions(
        subreddits=("coffee",),
        credentials=Credentials(CLIENT_ID, CLIENT_SECRET),
        user_agent="python:test:1 (by /u/a_user)",
        kinds=frozenset({"comments"}),
        endpoint=server.url,
        token_endpoint=server.url,
        interval_s=0.01,
        allow_private=True,
    )


def base36(number: int) -> str:
    return base36(number // 36) + DIGITS[number % 36] if number >= 36 else DIGITS[number]


def at(number: int) -> datetime:
    """The time of the item with a number."""
    return datetime.fromtimestamp(START + number, UTC)


class RedditServer(HttpServer):
    """Holds items of subreddits, of which a listing has the newest `most`.

    Attributes:
        tokens: those that are valid.
        token_answer: what the server of tokens answers beside the token.
        limits: the headers with the limit of requests.
        shuffle: changes the order of a page.
        extra: children at the beginning of a listing, of any form.
    """

    def __init__(self, *, most: int = 1_000) -> None:
        super().__init__()
        self.children: dict[int, dict[str, Any]] = {}
        self.newest = 1_000
        self.most = most
        self.tokens: set[str] = set()
        self.token_answer: dict[str, Any] = {"token_type": "bearer", "expires_in": 86_400, "scope": "*"}
        self.limits: dict[str, str] = {}
        self.shuffle: Callable[[list[Any]], list[Any]] = list
        self.extra: list[Any] = []
        self.subreddits = {"coffee", "tea"}
        for subreddit in sorted(self.subreddits):
            self.comment("from long ago", subreddit=subreddit)
            self.submission("from long ago", subreddit=subreddit)

    def comment(self, text: str, *, subreddit: str = "coffee", **more: Any) -> str:
        return self._add("t1", subreddit, {"body": text, **more})

    def submission(self, title: str, text: str = "", *, subreddit: str = "coffee", **more: Any) -> str:
        return self._add("t3", subreddit, {"title": title, "selftext": text, **more})

    def _add(self, kind: str, subreddit: str, more: dict[str, Any]) -> str:
        self.newest += 1
        short_id = base36(self.newest)
        data = {
            "id": short_id,
            "name": f"{kind}_{short_id}",
            "created_utc": float(START + self.newest),
            "author": "someone",
            "subreddit": subreddit,
            "permalink": f"/r/{subreddit}/comments/abc/_/{short_id}/",
            "edited": False,
            **more,
        }
        self.children[self.newest] = {"kind": kind, "data": data}
        return f"{kind}_{short_id}"

    def change(self, name: str, **more: Any) -> None:
        self.children[int(name[3:], 36)]["data"] |= more

    def delete(self, *names: str) -> None:
        for name in names:
            del self.children[int(name[3:], 36)]

    def queries(self, path: str) -> list[dict[str, str]]:
        """The queries of the requests of a listing."""
        return [dict(request.query) for request in self.requests if request.path == path]

    async def answer(self, request: Request) -> Reply:
        if request.path == "/api/v1/access_token":
            return self._token(request)
        if request.headers.get("authorization", "").removeprefix("bearer ") not in self.tokens:
            return Reply(401, b'{"message": "Unauthorized", "error": 401}', {"www-authenticate": "Bearer"})
        *folders, listing = request.path.strip("/").split("/")
        wanted = folders[1].split("+") if folders else ["all"]
        items = list(self._items(listing, wanted, request.query.get("q")))
        if wanted != ["all"] and self.subreddits.isdisjoint(wanted):
            return Reply(302, headers={"Location": f"/subreddits/search?q={folders[1]}"})
        return self._page(items[: self.most], request)

    def _token(self, request: Request) -> Reply:
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.method != "POST" or request.headers.get("authorization") != f"Basic {pair}":
            return Reply(401, b'{"message": "Unauthorized", "error": 401}')
        grant = dict(request.form)
        account = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
        if grant not in ({"grant_type": "client_credentials"}, account):
            return _json({"error": "invalid_grant"})
        token = f"token-{len(self.tokens)}-{len(self.requests)}"
        self.tokens.add(token)
        return _json({"access_token": token, **self.token_answer})

    def _items(self, listing: str, wanted: list[str], query: str | None) -> Iterator[dict[str, Any]]:
        kind = "t3" if query is not None else KINDS[listing]
        for _, child in sorted(self.children.items(), reverse=True):
            data = child["data"]
            is_wanted = child["kind"] == kind and (wanted == ["all"] or data["subreddit"] in wanted)
            if is_wanted and (query is None or query.strip('"') in data["title"]):
                yield child

    def _page(self, items: list[dict[str, Any]], request: Request) -> Reply:
        if (anchor := request.query.get("after")) is not None:
            names = [child["data"]["name"] for child in items]
            # An anchor that is not in the listing gives an empty page.
            items = items[names.index(anchor) + 1 :] if anchor in names else []
        page = items[: min(int(request.query.get("limit", 25)), 100)]
        after = page[-1]["data"]["name"] if len(page) < len(items) else None
        children = [*self.extra, *self.shuffle(page)] if anchor is None else self.shuffle(page)
        return _json({"kind": "Listing", "data": {"children": children, "after": after}}, self.limits)


def _json(value: object, headers: dict[str, str] | None = None) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})
