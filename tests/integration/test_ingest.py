"""`emostream ingest` with real Kafka and a Jetstream server: kills, two processes, gaps, and damaged positions."""

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.ingest.authors import Authors
from streams.ingest.sources.members import Process
from streams.ingest.sources.status import SourceStatus, State, Statuses, StatusReader
from streams.ops.demo.processes import Role
from streams.records import DeletionRecord, GapRecord, SourcePosition
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S, counter, free_port, records, wait_for
from tests.jetstream_server import JetstreamServer, account, commit, did, post_id

SECOND = 1_000_000
# For events that lie far apart: no cursor may be in the future.
BASE_US = int(time.time() - 20_000) * SECOND
SESSION = {"EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": "2000"}
"""A process that was killed loses its lease after this time."""


@pytest.fixture
def server() -> Iterator[JetstreamServer]:
    with JetstreamServer() as found:
        yield found


def written_config(folder: Path, server: JetstreamServer) -> Path:
    config = folder / "sources.toml"
    config.write_text(f"[bluesky]\nendpoint = '{server.url}'\nallow_private = true\nbackoff_s = 0.05\n")
    return config


@pytest.fixture
def ingest(start: Callable[..., Role], server: JetstreamServer, tmp_path: Path) -> Callable[..., Role]:
    """Starts `emostream ingest` for the server."""

    def start_ingest(*arguments: str, **more: str) -> Role:
        return start("ingest", "--config", str(written_config(tmp_path, server)), *arguments, **SESSION, **more)

    return start_ingest


def fresh(numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Returns posts of the present, as the server of a network has them."""
    return [commit(int(time.time() * SECOND), number) for number in numbers]


def ids(settings: Settings) -> list[str]:
    return [(key or b"").decode() for _, key, _ in records(settings, settings.topic_raw)]


def positions(settings: Settings) -> list[SourcePosition]:
    return [SourcePosition.from_json(value) for _, _, value in records(settings, settings.topic_sources)]


def gaps(settings: Settings) -> list[GapRecord]:
    return [GapRecord.from_json(value) for _, _, value in records(settings, settings.topic_gaps)]


def has_begun(settings: Settings) -> bool:
    return any(position.cursor is not None for position in positions(settings))


def wait_for_posts(settings: Settings, role: Role, numbers: Sequence[int]) -> None:
    wanted = {post_id(number) for number in numbers}

    def there() -> bool:
        role.check()
        return wanted <= set(ids(settings))

    wait_for(there, what="a post is not in the raw topic")


def test_a_gap_is_recorded_exactly_and_once(
    settings: Settings, ingest: Callable[..., Role], server: JetstreamServer
) -> None:
    port = free_port()
    role = ingest(EMOSTREAM_INGEST_WEB_PORT=str(port))
    wait_for(lambda: has_begun(settings), what="no position is stored")
    server.add([commit(BASE_US + number * SECOND, number) for number in range(1, 21)])
    wait_for_posts(settings, role, range(1, 21))
    assert counter(port, "emostream_source_posts_total") == 20
    assert counter(port, "emostream_source_active") == 1
    assert role.stop() == 0
    server.add([commit(BASE_US + number * SECOND, number) for number in range(100, 200)])
    server.drop_before(BASE_US + 150 * SECOND)
    role = ingest(EMOSTREAM_INGEST_WEB_PORT=str(port))
    wait_for_posts(settings, role, range(150, 200))
    wait_for(lambda: len(gaps(settings)) == 1, what="the gap is not recorded")
    assert counter(port, "emostream_source_gaps_total") == 1
    assert role.stop() == 0
    role = ingest()
    server.add([commit(BASE_US + 200 * SECOND, 200)])
    wait_for_posts(settings, role, [200])
    assert role.stop() == 0
    (gap,) = gaps(settings)
    assert gap.since == datetime.fromtimestamp(BASE_US // SECOND + 20, UTC)
    assert gap.until == datetime.fromtimestamp(BASE_US // SECOND + 150, UTC)
    assert (gap.instance, gap.source, gap.number) == ("bluesky", "bluesky", 1)
    assert len(ids(settings)) == 71


def test_of_two_processes_one_works_and_the_other_stands_by(
    settings: Settings, ingest: Callable[..., Role], server: JetstreamServer
) -> None:
    first = ingest()
    wait_for(lambda: has_begun(settings), what="no position is stored")
    second = ingest()
    server.add(fresh(range(100)))
    wait_for_posts(settings, first, range(100))
    wait_for(lambda: b"waits until no other process runs it" in second.log.read_bytes(), what="the second one starts")
    assert (server.open, server.most_open) == (1, 1)
    first.kill()
    server.add(fresh(range(100, 200)))
    wait_for_posts(settings, second, range(200))
    # The second one is paused, so that a third one takes over; it notices that when it goes on.
    third = ingest()
    second.pause()
    server.add(fresh(range(200, 300)))
    wait_for_posts(settings, third, range(300))
    second.resume()
    server.add(fresh(range(300, 400)))
    wait_for_posts(settings, third, range(400))
    given_up = (b"it has lost its lease", b"was taken over")
    wait_for(lambda: any(line in second.log.read_bytes() for line in given_up), what="the former one gives up")
    wait_for(lambda: server.open == 1, what="the former one closes its connection")
    assert third.stop() == 0
    wait_for_posts(settings, second, range(400))
    assert second.stop() == 0


def test_the_status_tells_who_runs_a_source_and_what_it_has_counted(
    settings: Settings, ingest: Callable[..., Role], start: Callable[..., Role], server: JetstreamServer
) -> None:
    reader = StatusReader(settings)
    assert reader.read() == Statuses()
    first = ingest()
    wait_for(lambda: server.open == 1, what="it does not connect")
    second = ingest()
    server.add(fresh(range(100)))

    def status() -> SourceStatus:
        found = reader.read()
        assert found.unreadable == {}
        return found.sources[0]

    def posts() -> int:
        report = status().position.report
        return 0 if report is None else report.posts

    wait_for(lambda: posts() == 100, what="the totals are not stored")
    wait_for(lambda: len(status().waiting) == 1, what="the second process does not wait")
    found = status()
    assert (found.state, found.runner) == (State.RUNNING, Process(socket.gethostname(), first.pid))
    assert found.waiting == (Process(socket.gethostname(), second.pid),)
    assert first.stop() == 0
    server.add(fresh(range(100, 150)))
    wait_for(lambda: posts() == 150, what="the totals do not go on in another process")
    assert second.stop() == 0
    found = status()
    assert (found.state, found.waiting) == (State.STOPPED, ())
    command = start("sources", "--json")
    assert command.wait(TIMEOUT_S) == 0
    (line,) = command.log.read_text().splitlines()
    (shown,) = json.loads(line)["sources"]
    assert (shown["instance"], shown["state"], shown["posts"], shown["gaps"]) == ("bluesky", "stopped", 150, 0)


def test_a_source_that_no_longer_runs_is_forgotten(
    settings: Settings, ingest: Callable[..., Role], start: Callable[..., Role], server: JetstreamServer
) -> None:
    role = ingest()
    server.add(fresh(range(10)))
    wait_for(lambda: has_begun(settings), what="no position is stored")

    def forgetting(*arguments: str) -> tuple[int, str]:
        command = start("sources", "forget", *arguments)
        return command.wait(TIMEOUT_S), command.log.read_text()

    code, text = forgetting("bluesky", "--yes")
    assert (code, "runs bluesky, or waits for it; stop it first. Nothing was removed" in text) == (1, True)
    assert role.stop() == 0
    code, text = forgetting("blueski", "--yes")
    assert (code, "no source 'blueski' has ever run; did you mean 'bluesky'?" in text) == (1, True)
    # Nobody can answer: the standard input of the command is closed.
    code, text = forgetting("bluesky")
    assert (code, "bluesky was not forgotten" in text) == (1, True)
    reader = StatusReader(settings)
    assert [one.position.instance for one in reader.read().sources] == ["bluesky"]
    code, text = forgetting("bluesky", "--yes")
    assert (code, text) == (0, "bluesky is forgotten\n")
    assert reader.read() == Statuses()
    assert StatusReader(settings).read() == Statuses()
    role = ingest()
    wait_for(lambda: reader.read().sources != (), what="it does not begin anew")
    assert role.stop() == 0
    assert "bluesky: begins with new posts" in role.log.read_text()


def test_a_position_that_cannot_be_read_is_an_error(
    settings: Settings, ingest: Callable[..., Role], server: JetstreamServer, producer: ConfirmedProducer
) -> None:
    def store(value: bytes) -> None:
        producer.submit([Outgoing(settings.topic_sources, value, b"bluesky")]).result(120)

    store(b'{"instance":"bluesky"')
    role = ingest()
    assert role.wait(TIMEOUT_S) == 1
    (line,) = [line for line in role.log.read_text().splitlines() if line.startswith("emostream: error:")]
    assert "the position of bluesky" in line
    assert "--from-now" in line
    damaged = SourcePosition.from_fields(
        {
            "instance": "bluesky",
            "source": "bluesky",
            "cursor": "yesterday",
            "at": "2026-03-01T12:00:00Z",
            "raw_topic": settings.topic_raw,
            "offsets": {},
            "reread": {},
            "gaps": 4,
            "saved_at": "2026-03-01T12:00:00Z",
        }
    )
    store(damaged.to_json())
    role = ingest()
    assert role.wait(TIMEOUT_S) == 1
    assert "the stored cursor is not a time in microseconds" in role.log.read_text()
    assert server.asked == []
    role = ingest("--from-now")
    wait_for(lambda: len(gaps(settings)) == 1, what="the gap is not recorded")
    server.add(fresh([1]))
    wait_for_posts(settings, role, [1])
    assert role.stop() == 0
    (gap,) = gaps(settings)
    assert (gap.number, gap.since) == (5, damaged.at)


def test_a_source_that_is_rejected_ends_alone(
    settings: Settings, start: Callable[..., Role], server: JetstreamServer, tmp_path: Path
) -> None:
    config = tmp_path / "sources.toml"
    config.write_text(
        f"[good]\nsource = 'bluesky'\nendpoint = '{server.url}'\nallow_private = true\n"
        f"[bad]\nsource = 'bluesky'\nendpoint = '{server.url}'\n"
    )
    role = start("ingest", "--config", str(config), **SESSION)
    wait_for(lambda: has_begun(settings), what="no position is stored")
    wait_for(lambda: b"bad ended: 127.0.0.1 is at" in role.log.read_bytes(), what="the bad source does not end")
    server.add(fresh([1]))
    wait_for_posts(settings, role, [1])
    assert role.stop() == 1
    (line,) = [line for line in role.log.read_text().splitlines() if line.startswith("emostream: error:")]
    why = "127.0.0.1 is at 127.0.0.1, which is not a public address"
    assert f"1 source failed: bad: {why}" in line
    bad, good = StatusReader(settings).read().sources
    assert (bad.position.instance, bad.state, good.state, good.failure) == ("bad", State.FAILED, State.STOPPED, None)
    assert why in (bad.failure or "")


def test_keywords_and_silence(
    settings: Settings, start: Callable[..., Role], server: JetstreamServer, tmp_path: Path
) -> None:
    config = tmp_path / "sources.toml"
    config.write_text(
        f"[bluesky]\nendpoint = '{server.url}'\nallow_private = true\nsilence_s = 0.5\nbackoff_s = 0.05\n"
    )
    key = "0123456789abcdef"
    role = start(
        *("ingest", "--config", str(config), "bluesky", "--keywords", "Tea, green house"),
        **SESSION,
        EMOSTREAM_AUTHOR_KEY=key,
    )
    wait_for(lambda: has_begun(settings), what="no position is stored")
    now_us = int(time.time() * SECOND)
    server.add([commit(now_us, 1, "tea!"), commit(now_us, 2, "coffee"), commit(now_us, 3, "a GREEN house")])
    wait_for_posts(settings, role, [1, 3])
    wait_for(lambda: len(server.asked) > 2, what="it does not connect again after a silence")
    server.add([commit(int(time.time() * SECOND), 2, operation="delete"), account(int(time.time() * SECOND), 3)])
    server.add([commit(int(time.time() * SECOND), 4, "tea again")])
    wait_for_posts(settings, role, [4])
    assert role.stop() == 0
    posts = [json.loads(value) for _, _, value in records(settings, settings.topic_raw)]
    found = {post["author"]: post["keywords"] for post in posts}
    hashed = {number: Authors("hash", key).written("bluesky", did(number)) for number in (1, 3, 4)}
    assert found == {hashed[1]: ["Tea"], hashed[3]: ["green house"], hashed[4]: ["Tea"]}
    # A source that connects again may repeat a deletion.
    deletions = [DeletionRecord.from_json(value) for _, _, value in records(settings, settings.topic_deletions)]
    assert {(record.id, record.author) for record in deletions} == {(post_id(2), None), (None, hashed[3])}


def test_it_needs_its_topics(env: dict[str, str], start: Callable[..., Role]) -> None:
    role = start("ingest", "bluesky")
    assert role.wait(TIMEOUT_S) == 1
    assert "run `emostream init`" in role.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "there is no source 'nowhere'"),
        ([], "name a source"),
        (["bluesky", "--keywords", " , "], "--keywords names no word"),
        (["bluesky", "--endpoint", "wss://me:secret@host"], "an endpoint has no credentials"),
        (["bluesky", "--instance", "A B"], "a name has lower-case letters"),
    ],
)
def test_arguments_that_cannot_be_used(start: Callable[..., Role], arguments: list[str], problem: str) -> None:
    role = start("ingest", *arguments)
    assert role.wait(TIMEOUT_S) in (1, 2)
    text = role.log.read_text()
    assert problem in text
    assert "Traceback" not in text
    assert "secret" not in text
