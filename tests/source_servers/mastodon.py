"""The timelines and streams of a Mastodon server, as docs.joinmastodon.org describes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.source_servers.http import Hangup, HttpServer, Reply, Request, Stream

TOKEN = "secret-token"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
_CUT = b"cut"
_END = b"end"


class MastodonServer(HttpServer):
    """Holds statuses, the newest first in its answers. `keep` is how many it holds; older ones are pruned.

    Streams are sent what happens. `subscribes_late` makes a stream listen only from its first heartbeat on.
    `on_listening` is called when a stream listens, before it sends anything.
    """

    def __init__(self, *, keep: int | None = None, start: datetime = START) -> None:
        super().__init__()
        self.statuses: dict[int, dict[str, Any]] = {}
        self.keep = keep
        self.knows_min_id = True
        self.streaming_url: str | None = None
        self.subscribes_late = False
        self.on_listening: Callable[[], object] = lambda: None
        self.sent = 0
        self._time = start
        self._streams: list[tuple[str, asyncio.Queue[bytes]]] = []

    @property
    def streams(self) -> int:
        return len(self._streams)

    def post(self, text: str, *, tags: tuple[str, ...] = (), late_by: timedelta = timedelta(), **more: Any) -> str:
        """A new status. One that is late has the id and the time of an earlier moment."""
        self._time += timedelta(seconds=1)
        at = self._time - late_by
        number = (int(at.timestamp() * 1_000) << 16) + len(self.statuses) % 65_536
        status = {
            "id": str(number),
            "created_at": at.isoformat().replace("+00:00", "Z"),
            "edited_at": None,
            "visibility": "public",
            "language": "en",
            "url": f"https://m.example/@a/{number}",
            "content": text,
            "reblog": None,
            "spoiler_text": "",
            "account": {"acct": "a@m.example"},
            "tags": [{"name": tag} for tag in tags],
            **more,
        }
        self.statuses[number] = status
        if self.keep is not None:
            self.statuses = dict(sorted(self.statuses.items())[-self.keep :])
        self.send("update", status)
        return str(number)

    def edit(self, number: str, text: str) -> None:
        self._time += timedelta(seconds=1)
        status = self.statuses[int(number)]
        status |= {"content": text, "edited_at": self._time.isoformat()}
        self.send("status.update", status)

    def delete(self, number: str) -> None:
        status = self.statuses.pop(int(number))
        self.send("delete", status, number)

    def send(self, event: str, status: Mapping[str, Any], data: str | None = None) -> None:
        text = data if data is not None else json.dumps(status)
        self._to(_names(status), f"event: {event}\ndata: {text}\n\n".encode())

    def send_raw(self, part: bytes) -> None:
        self._to(None, part)

    def beat(self) -> None:
        self._to(None, b":thump\n")

    def cut_streams(self, *names: str) -> None:
        """Reset streams in the middle of an event: all, or those of some timelines."""
        self._to(set(names) or None, b'event: update\ndata: {"id": "1", "content')
        self._to(set(names) or None, _CUT)

    def end_streams(self) -> None:
        self._to(None, _END)

    def _to(self, names: set[str] | None, part: bytes) -> None:
        for name, queue in self._streams:
            if names is None or name in names:
                queue.put_nowait(part)

    async def answer(self, request: Request) -> Reply | Stream:
        if request.path == "/api/v2/instance":
            urls = {"streaming": self.streaming_url or self.url.replace("http", "ws")}
            return _json({"configuration": {"urls": urls}})
        if request.path.startswith("/api/v1/streaming/"):
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return _json({"error": "Missing access token"}, 401)
            return self._stream(f"#{tag.lower()}" if (tag := request.query.get("tag")) else "public")
        if request.path.startswith("/api/v1/timelines/"):
            return self._page(request)
        return _json({"error": "Not found"}, 404)

    def _page(self, request: Request) -> Reply:
        tag = request.path.removeprefix("/api/v1/timelines/tag/").lower() if "/tag/" in request.path else None
        ids = sorted(number for number, status in self.statuses.items() if tag is None or f"#{tag}" in _names(status))
        if tag is not None and not ids:
            return _json({"error": "Record not found"}, 404)
        limit, lower = min(int(request.query.get("limit", 20)), 40), request.query.get("min_id")
        if (upper := request.query.get("max_id")) is not None:
            ids = [number for number in ids if number < int(upper)]
        if lower is not None and self.knows_min_id:
            ids = [number for number in ids if number > int(lower)][:limit]
        page = [self.statuses[number] for number in ids[-limit:][::-1]]
        self.sent += len(page)
        return _json(page)

    async def _stream(self, name: str) -> Stream:
        entry = (name, asyncio.Queue[bytes]())
        if not self.subscribes_late:
            self._streams.append(entry)
            self.on_listening()
        try:
            yield b":)\n"
            if self.subscribes_late:
                # A post that comes now reaches no stream.
                self.post("between", tags=tuple(tag for tag in (name.removeprefix("#"),) if tag != "public"))
                self._streams.append(entry)
            while (part := await entry[1].get()) != _END:
                if part == _CUT:
                    raise Hangup
                self.sent += 1
                yield part
        finally:
            if entry in self._streams:
                self._streams.remove(entry)


def _names(status: Mapping[str, Any]) -> set[str]:
    return {"public", *(f"#{tag['name'].lower()}" for tag in status["tags"])}


def _json(value: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
