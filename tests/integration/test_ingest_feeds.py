"""`emostream ingest` with real Kafka and servers of Mastodon, feeds and Hacker News: kills lose and double no post."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.records import GapRecord, SourcePosition
from streams.settings import Settings
from tests.forked_role import ForkedIngest
from tests.integration.support import records, wait_for
from tests.source_servers.feeds import FeedServer, item, rss
from tests.source_servers.hackernews import HackerNewsServer
from tests.source_servers.http import HttpServer, Reply
from tests.source_servers.mastodon import TOKEN, MastodonServer
from tests.source_servers.threaded import Threaded, threaded

SESSION = {"EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": "2000"}
KILLS = 20
FEEDS = ("/good", "/changing", "/shared", "/missing")


@dataclass
class Network:
    """A network that a source reads.

    Attributes:
        options: the lines of its table in sources.toml.
        make: makes some posts, and returns their texts.
        progress: a number that grows as the source reads.
        fail: answers some requests of the source with an error.
    """

    options: str
    make: Callable[[int], list[str]]
    progress: Callable[[], int]
    fail: Callable[[], None]


def failing(server: Threaded[HttpServer], path: str) -> Callable[[], None]:  # type: ignore[type-var]
    replies = [Reply(500), Reply(429, headers={"Retry-After": "0"}), Reply(200, b'[{"id": ', cut=5)]
    return lambda: server.call(lambda found: found.fail(path, random.choice(replies)))


@contextmanager
def mastodon() -> Iterator[Network]:
    numbers = iter(range(10**6))
    with threaded(MastodonServer(start=datetime.now(UTC) - timedelta(hours=1))) as server:

        def make(count: int) -> list[str]:
            texts = [f"post {next(numbers)}" for _ in range(count)]
            server.call(lambda found: [found.post(f"<p>{text}</p>") for text in texts])
            return texts

        options = f"endpoint = '{server.server.url}'"
        yield Network(options, make, lambda: server.server.sent, failing(server, "/api/v1/timelines"))


@contextmanager
def hackernews() -> Iterator[Network]:
    numbers = iter(range(10**6))
    with threaded(HackerNewsServer(start=int(time.time()) - 100_000)) as server:

        def make(count: int) -> list[str]:
            texts = [f"comment {next(numbers)}" for _ in range(count)]
            server.call(lambda found: [found.add(text) for text in texts])
            return texts

        options = f"endpoint = '{server.server.url}'\ninterval_s = 0.05"
        yield Network(options, make, lambda: len(server.server.requests), failing(server, "/v0/item"))


@contextmanager
def feeds() -> Iterator[Network]:
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

        def make(count: int) -> list[str]:
            # Fewer than a document has, so that none comes and goes between two fetches.
            first, entries[0] = entries[0] + 1, entries[0] + max(1, count // 50)
            server.call(lambda found: put(found, entries[0]))
            return [f"{name[1:]} {number}" for name in FEEDS for number in range(first, entries[0] + 1)]

        server.call(lambda found: put(found, 0))
        urls = [server.server.url + path for path in FEEDS]
        options = f"endpoint = {urls}\ninterval_s = 0.05\nleast_s = 0.05"
        yield Network(options, make, lambda: len(server.server.requests), failing(server, "/"))


def raw_texts(settings: Settings) -> list[str]:
    return [json.loads(value)["text"] for _, _, value in records(settings, settings.topic_raw)]


def begun(settings: Settings) -> set[str]:
    positions = [SourcePosition.from_json(value) for _, _, value in records(settings, settings.topic_sources)]
    return {position.instance for position in positions if position.cursor is not None}


def test_twenty_kills_lose_no_post_and_double_none(settings: Settings, env: dict[str, str], tmp_path: Path) -> None:
    """One process runs all three sources, so that each kill is one of each."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown if the test fails
    random.seed(seed)
    config = tmp_path / "sources.toml"
    environment = {**env, **SESSION, "MASTODON_ACCESS_TOKEN": TOKEN}

    def ingest() -> ForkedIngest:
        return ForkedIngest(config, environment, tmp_path / "ingest.log")

    with mastodon() as toots, feeds() as entries, hackernews() as items:
        networks = {"mastodon": toots, "rss": entries, "hackernews": items}
        config.write_text(
            "\n".join(
                f"[{kind}]\nallow_private = true\nbackoff_s = 0.05\n{network.options}"
                for kind, network in networks.items()
            )
        )
        role = ingest()
        wait_for(lambda: begun(settings) == set(networks), what="a position is not stored")
        start = entries.progress()  # what a feed has at the beginning is not new
        wait_for(lambda: entries.progress() > start + 2 * len(FEEDS), what="the feeds are not read")
        wanted: list[str] = []
        for kill in range(KILLS):
            chosen = random.choice(list(networks.values()))
            before = chosen.progress()
            wanted += [text for network in networks.values() for text in network.make(100)]
            role.check()
            enough = random.randrange(0, 40)
            wait_for(lambda at=before + enough, chosen=chosen: chosen.progress() >= at, what="nothing is read")  # type: ignore[misc]
            role.kill()
            wanted += [text for network in networks.values() for text in network.make(25)]
            if kill % 3 == 0:
                chosen.fail()
            role = ingest()
        wait_for(lambda: set(wanted) <= set(raw_texts(settings)), what="a post is not in the raw topic")
        assert role.stop() == 0
    counts = Counter(raw_texts(settings))
    assert {text: count for text, count in counts.items() if count > 1} == {}
    assert set(counts) == set(wanted)
    assert [GapRecord.from_json(value) for _, _, value in records(settings, settings.topic_gaps)] == []
    assert TOKEN not in (tmp_path / "ingest.log").read_text("utf-8")
