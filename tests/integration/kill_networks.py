"""Local networks for a test that kills `emostream ingest`: they make posts, misbehave, and tell how far they are read.

A further source needs one more function here, and a line in `NETWORKS`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tests.jetstream_server import JetstreamServer, commit, identity
from tests.source_servers.feeds import FeedServer, item, rss
from tests.source_servers.hackernews import HackerNewsServer
from tests.source_servers.http import HttpServer, Reply
from tests.source_servers.mastodon import TOKEN, MastodonServer
from tests.source_servers.reddit import CLIENT_ID, CLIENT_SECRET, RedditServer
from tests.source_servers.threaded import Threaded, threaded
from tests.source_servers.x import TOKEN as X_TOKEN
from tests.source_servers.x import XServer

FEEDS = ("/good", "/changing", "/shared", "/missing")
STEP_US = 100_000
"""Microseconds between two events of Jetstream: its time runs faster than the clock."""

ENVIRONMENT = {
    "MASTODON_ACCESS_TOKEN": TOKEN,
    "REDDIT_CLIENT_ID": CLIENT_ID,
    "REDDIT_CLIENT_SECRET": CLIENT_SECRET,
    "X_BEARER_TOKEN": X_TOKEN,
}
"""The credentials of all networks."""


@dataclass
class Network:
    """A network that a source reads.

    Attributes:
        options: the lines of its table in sources.toml.
        make: makes about so many posts, and returns their texts. No two posts of all networks have the same text.
        progress: a number that grows as the source reads.
        fail: answers one of the next requests of the source with an error, or breaks a connection.
        begun: whether a source with this cursor has read what was there before, which is not new.
    """

    options: str
    make: Callable[[int], list[str]]
    progress: Callable[[], int]
    fail: Callable[[], None]
    begun: Callable[[str], bool] = lambda _: True


class Jetstream(Network):
    """Bluesky's network, which can also forget events."""

    def __init__(self, server: JetstreamServer, chance: random.Random) -> None:
        super().__init__(f"endpoint = '{server.url}'", self._make, lambda: server.sent, self._fail)
        self.server = server
        self._chance = chance
        self._numbers = count(1)
        self._time_us = (int(time.time()) - 20_000) * 1_000_000  # a cursor must not be in the future
        server.order = self._jumps_ahead

    @property
    def now(self) -> datetime:
        """The time of the last event."""
        return datetime.fromtimestamp(self._time_us / 1_000_000, UTC)

    def lose(self) -> tuple[datetime, list[str]]:
        """Make posts that the server forgets at once, and others that it keeps.

        Returns:
            The time of the first event that is kept, and the texts of those posts.
        """
        self._make(30)
        self._time_us += 1_000 * 1_000_000
        until = self._time_us + STEP_US
        kept = self._make(30)
        self.server.drop_before(until)
        self.server.order = self._jumps_ahead
        return datetime.fromtimestamp(until / 1_000_000, UTC), kept

    def _make(self, wanted: int) -> list[str]:
        events: list[dict[str, Any]] = []
        texts = []
        for _ in range(wanted):
            number, chance = next(self._numbers), self._chance
            self._time_us += STEP_US
            texts.append(f"bluesky {number}")
            events.append(commit(self._time_us, number, texts[-1]))
            if chance.random() < 0.05:
                unknown = {"kind": "new", "time_us": self._time_us}
                events.append(chance.choice([identity(self._time_us, number), events[-1], unknown]))
            if chance.random() < 0.05:
                events.append(commit(self._time_us, chance.randrange(1, number + 1), operation="delete"))
        self.server.add(events)
        return texts

    def _jumps_ahead(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """At the end of a replay the server sends an event of the present too early."""
        if len(events) > 20:
            events.insert(len(events) - self._chance.randrange(2, 20), events.pop())
        return events

    def _fail(self) -> None:
        fault = self._chance.choice(["close", "cut", "busy", "broken"])
        if fault == "busy":
            self.server.refuse(429, {"Retry-After": "0"})
        elif fault == "broken":
            self.server.refuse(503)
        else:
            self.server.fault(self._chance.randrange(1, 100), fault)


@contextmanager
def bluesky(chance: random.Random) -> Iterator[Network]:
    with JetstreamServer() as server:
        yield Jetstream(server, chance)
        assert server.most_open == 1


def failing(server: Threaded[HttpServer], path: str, chance: random.Random) -> Callable[[], None]:  # type: ignore[type-var]
    replies = [Reply(500), Reply(429, headers={"Retry-After": "0"}), Reply(200, b'[{"id": ', cut=5)]
    return lambda: server.call(lambda found: found.fail(path, chance.choice(replies)))


@contextmanager
def mastodon(chance: random.Random) -> Iterator[Network]:
    numbers = count()
    with threaded(MastodonServer(start=datetime.now(UTC) - timedelta(hours=1))) as server:

        def make(wanted: int) -> list[str]:
            texts = [f"mastodon {next(numbers)}" for _ in range(wanted)]
            server.call(lambda found: [found.post(f"<p>{text}</p>") for text in texts])
            return texts

        fail = failing(server, "/api/v1/timelines", chance)
        yield Network(f"endpoint = '{server.server.url}'", make, lambda: server.server.sent, fail)


@contextmanager
def hackernews(chance: random.Random) -> Iterator[Network]:
    numbers = count()
    with threaded(HackerNewsServer(start=int(time.time()) - 100_000)) as server:

        def make(wanted: int) -> list[str]:
            texts = [f"hackernews {next(numbers)}" for _ in range(wanted)]
            server.call(lambda found: [found.add(text) for text in texts])
            return texts

        options = f"endpoint = '{server.server.url}'\ninterval_s = 0.05"
        yield Network(options, make, lambda: len(server.server.requests), failing(server, "/v0/item", chance))


@contextmanager
def reddit(chance: random.Random) -> Iterator[Network]:
    numbers = count()
    with threaded(RedditServer()) as server:

        def make(wanted: int) -> list[str]:
            chosen, now = [next(numbers) for _ in range(wanted)], time.time()
            server.call(
                lambda found: [(found.comment, found.submission)[n % 2](f"reddit {n}", created_utc=now) for n in chosen]
            )
            return [f"reddit {n}" for n in chosen]

        options = f"endpoint = '{server.server.url}'\nsubreddits = ['coffee']\ninterval_s = 0.05"
        yield Network(options, make, lambda: len(server.server.requests), failing(server, "/r/coffee", chance))


@contextmanager
def feeds(chance: random.Random) -> Iterator[Network]:
    """Each feed has another fault: guids that change, guids and links that are shared, none at all."""
    with threaded(FeedServer()) as server:
        entries = [0]
        begin = datetime.now(UTC) - timedelta(hours=5)

        def put(found: FeedServer, newest: int) -> None:
            shown = range(newest, newest - 30, -1)
            at = {number: begin + timedelta(seconds=number) for number in shown}
            documents = {
                "good": [item(f"good {n}", guid=f"tag:{n}", link=f"https://g.example/{n}", date=at[n]) for n in shown],
                "changing": [
                    item(f"changing {n}", guid=f"s:{newest}:{n}", link=f"https://c.example/{n}", date=at[n])
                    for n in shown
                ],
                "shared": [item(f"shared {n}", guid="x", link="https://s.example/", date=at[n]) for n in shown],
                "missing": [item(f"missing {n}") for n in shown],
            }
            for name, items in documents.items():
                found.put(f"/{name}", rss(items))

        def make(wanted: int) -> list[str]:
            # Fewer than a document has, so that none comes and goes between two fetches.
            first, entries[0] = entries[0] + 1, entries[0] + max(1, wanted // 50)
            server.call(lambda found: put(found, entries[0]))
            return [f"{name[1:]} {number}" for name in FEEDS for number in range(first, entries[0] + 1)]

        server.call(lambda found: put(found, 0))
        urls = [server.server.url + path for path in FEEDS]
        options = f"endpoint = {urls}\ninterval_s = 0.05\nleast_s = 0.05"

        def begun(cursor: str) -> bool:
            # The position that is stored first knows one feed only. A kill then makes the others begin again.
            return all("k" in feed for feed in json.loads(cursor)["feeds"].values())

        yield Network(options, make, lambda: len(server.server.requests), failing(server, "/", chance), begun)


@contextmanager
def x(chance: random.Random) -> Iterator[Network]:
    """A post that comes while the source is away is found by the search only."""
    numbers = count()
    server = XServer()
    server.connections = 2  # the one of a killed process may not be closed yet
    with threaded(server) as served:

        def make(wanted: int) -> list[str]:
            texts = [f"coffee {next(numbers)}" for _ in range(wanted)]
            served.call(lambda found: [found.post(text) for text in texts])
            return texts

        options = f"endpoint = '{server.url}'\nkeywords = ['coffee']\nsearch_delay_s = 0.1"
        yield Network(options, make, lambda: server.sent, failing(served, "/2/tweets/search", chance))


NETWORKS: Mapping[str, Callable[[random.Random], AbstractContextManager[Network]]] = {
    "bluesky": bluesky,
    "hackernews": hackernews,
    "mastodon": mastodon,
    "reddit": reddit,
    "rss": feeds,
    "x": x,
}
"""By the kind of source, what serves a network of it."""
