"""Posts, edits and deletions of the timelines of a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from connectors.errors import RejectedError
from connectors.sources.events import Positioned, SourceDeletion, SourceEvent, SourcePost, skipped
from connectors.sources.mastodon.heads import newest, read_cursor, resume_from, write_cursor
from connectors.sources.mastodon.reader import Found, Reader
from connectors.sources.mastodon.timelines import Api, Timeline, server_of
from connectors.sources.merging import merged
from connectors.sources.net import open_http

MAX_TAGS = 10
"""Hashtags of one source: each has a connection of its own."""

_LONGEST_TAG = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MastodonOptions:
    """Which timelines are read, and how.

    Attributes:
        endpoint: the address of the server, such as `https://mastodon.social`.
        tags: the hashtags, at most `MAX_TAGS`; none for all public posts that the server knows.
        local: whether only posts of the server's own accounts are read.
        token: the access token. Without one, timelines are read as pages again and again, because streams need one.
        interval_s: seconds between two readings of a timeline without a stream.
        overlap: how far before its head a timeline is read again after an interruption. A post that takes longer to
            reach the server, and does so while nothing listens, is missed.
        heartbeat_s: a stream that sends nothing for this many seconds is dead. Mastodon sends something every 15 s.
        allow_private: whether the server may have a private address.
        max_bytes: the longest page of a timeline, and the longest event.
        timeout_s: seconds that a request may take.
    """

    endpoint: str
    tags: tuple[str, ...] = ()
    local: bool = False
    token: str | None = field(default=None, repr=False)
    interval_s: float = 60.0
    overlap: timedelta = timedelta(minutes=1)
    heartbeat_s: float = 60.0
    allow_private: bool = False
    max_bytes: int = 4_000_000
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RejectedError: `endpoint` is not an address, there are too many tags, or one is empty or too long.
        """
        server_of(self.endpoint)
        if len(self.tags) > MAX_TAGS or not all(0 < len(_tag(tag)) <= _LONGEST_TAG for tag in self.tags):
            raise RejectedError(
                f"a source of mastodon has at most {MAX_TAGS} hashtags, each of 1 to {_LONGEST_TAG} characters"
            )


def _with_server(event: SourceEvent, server: str) -> SourceEvent:
    """Returns an event with the server in the id of its post, because two servers give their posts the same numbers."""
    if isinstance(event, SourcePost) or (isinstance(event, SourceDeletion) and event.id is not None):
        return replace(event, id=f"{server}/{event.id}")
    return event


class MastodonSource:
    """A source of public posts of a Mastodon server. See `connectors.sources.protocol.Source`.

    Posts and edits that came during an interruption are read from the pages of the timeline. Deletions are not: no page
    tells them.
    """

    name = "mastodon"
    stable_ids = True

    def __init__(self, options: MastodonOptions) -> None:
        """Prepare a source; nothing is connected to."""
        tags = dict.fromkeys(map(_tag, options.tags))
        timelines = [Timeline(tag, options.local) for tag in tags] or [Timeline(local=options.local)]
        self._timelines = {timeline.name: timeline for timeline in timelines}
        self._options = options
        self._streams = bool(options.token)
        waits_s = options.heartbeat_s if self._streams else options.interval_s
        self.silence_s = waits_s + 2 * options.timeout_s
        self._http = open_http(
            allow_private=options.allow_private,
            max_bytes=options.max_bytes,
            timeout_s=options.timeout_s,
            headers={"Authorization": f"Bearer {options.token}"} if options.token else {},
        )
        self._api = Api(self._http, options.endpoint)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield posts, edits and deletions of the timelines. See `Source.stream`.

        Raises:
            RateLimitError: The server asks to wait.
            UnavailableError: A connection failed, ended, or was silent.
            RejectedError: The access token is missing or wrong, or `cursor` is not a cursor of this source.
        """
        server = self._api.server
        heads: dict[str, str] = {}
        read_at: dict[str, datetime] = {}
        starts: dict[str, str] = {}
        if cursor is not None:
            heads, at = read_cursor(cursor, server, list(self._timelines))
            read_at = dict.fromkeys(heads, at)
            starts = {name: resume_from(head, at, self._options.overlap) for name, head in heads.items()}
        for name, timeline in self._timelines.items():
            if name not in heads:
                read_at[name] = datetime.now(UTC)
                heads[name] = newest((await self._api.page(timeline, limit=1)).statuses)
        yield Positioned(skipped("connected"), write_cursor(server, heads, min(read_at.values())))
        async with aclosing(self._merged(dict(heads), dict(read_at), starts)) as events:
            async for name, found, timeline_read_at in events:
                read_at[name] = timeline_read_at
                if found.id is not None:
                    heads[name] = newest((heads[name], found.id))
                behind = write_cursor(server, heads, min(read_at.values()))
                yield Positioned(_with_server(found.event, server), behind, found.at)

    async def _merged(
        self, heads: Mapping[str, str], read_at: Mapping[str, datetime], starts: Mapping[str, str]
    ) -> AsyncGenerator[tuple[str, Found, datetime], None]:
        """Yield the events of all timelines as they come, each with the name and the `read_at` of its timeline.

        Args:
            heads: the newest status of each timeline.
            read_at: see `Reader`; of each timeline.
            starts: the id after which an interrupted timeline is read again.
        """
        base = await self._api.streaming_url() if self._streams else None

        async def follow(name: str, timeline: Timeline) -> AsyncGenerator[tuple[str, Found, datetime], None]:
            reader = Reader(
                self._api,
                timeline,
                heads[name],
                read_at[name],
                start=starts.get(name, heads[name]),
                overlap=self._options.overlap,
                max_bytes=self._options.max_bytes,
            )
            parts = [reader.missed()] if name in starts else []
            if base is None:
                parts.append(reader.polled(self._options.interval_s))
            else:
                parts.append(reader.streamed(self._http, base, self._options.heartbeat_s))
            for part in parts:
                async with aclosing(part):
                    async for found in part:
                        yield name, found, reader.read_at

        async with aclosing(merged([follow(*item) for item in self._timelines.items()])) as events:
            async for event in events:
                yield event


def _tag(text: str) -> str:
    return text.strip().removeprefix("#").lower()
