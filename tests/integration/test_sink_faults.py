"""What the sink does with records that Postgres does not take, and with a Postgres that will not have any."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config
from streams.ops.demo.processes import Role
from streams.records import DeadPost, DeadReason
from streams.settings import Settings
from tests.integration.support import PATIENCE_S, wait_for
from tests.integration.test_failures import run
from tests.integration.test_sink import classified, feed, query, rows

Start = Callable[..., Role]


def dead(settings: Settings) -> list[DeadPost]:
    scan = TopicScan(kafka_config(settings), settings.topic_dead)
    letters = [DeadPost.model_validate_json(message.value() or b"") for message in scan.messages()]
    scan.close()
    return letters


def test_poison_is_taken_out_of_its_batch_and_the_rest_goes_in(
    settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    """A NUL that PostgreSQL's text cannot hold, a number that its type cannot, and what a constraint forbids."""
    query(settings, "ALTER TABLE posts ADD CONSTRAINT no_elves CHECK (author <> 'elf')")
    poison = {17: {"label": "jo\0y"}, 40: {"source": "\0"}, 60: {"author": "elf"}, 61: {"author": "elf"}}
    posts = [classified(2_000 + offset, **poison.get(offset, {})) for offset in range(100)]
    feed(producer, settings, 1_000, 40)
    values = [post.model_dump_json().encode() for post in posts]
    producer.submit([Outgoing(settings.topic_classified, value, b"key", partition=0) for value in values]).result(30)
    sink = start("sink")
    wait_for(lambda: rows(settings) == 40 + 96, what="the rest does not go in")
    sink.check()

    letters = dead(settings)
    assert {letter.reason for letter in letters} == {DeadReason.NOT_STORABLE}
    offsets = sorted(letter.origin.offset for letter in letters)
    # 10 records, and the one that feed repeats, lie before them in the partition.
    first = offsets[0] - 17
    assert offsets == [first + offset for offset in poison]
    assert {letter.origin.topic for letter in letters} == {settings.topic_classified}
    assert all("PostgreSQL does not take the data" in letter.error for letter in letters)
    ranges = f"SELECT sum(records), sum(rows) FROM sink_ledger WHERE topic = '{settings.topic_classified}'"
    assert query(settings, ranges) == [(44 + 100, 40 + 96)]


def test_a_full_disk_is_waited_out(settings: Settings, producer: ConfirmedProducer, start: Start) -> None:
    """The error is PostgreSQL's own, raised by a trigger: a disk cannot be filled everywhere that tests run."""
    query(
        settings,
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
        END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON posts FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
        """,
    )
    feed(producer, settings, 0, 400)
    sink = start("sink")
    told = "PostgreSQL has no room left while writing"
    wait_for(lambda: sink.log.read_text().count(told) >= 2, what="the sink does not try again")
    sink.check()
    assert "could not extend file" in sink.log.read_text()
    assert rows(settings) == 0
    query(settings, "DROP TRIGGER full_disk ON posts")
    wait_for(lambda: rows(settings) == 400, what="the sink does not go on")
    sink.check()
    assert dead(settings) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "DELETE FROM schema_migrations WHERE version > 2",
            "has schema version 2, and .* is needed; run `emostream init`",
        ),
        ("INSERT INTO schema_migrations (version) VALUES (999)", "has schema version 999, .* run a newer emostream"),
    ],
)
@pytest.mark.parametrize("command", [["sink"], ["backfill", "--check"]])
def test_another_schema_is_one_clear_line(
    env: dict[str, str], settings: Settings, change: str, line: str, command: list[str]
) -> None:
    query(settings, change)
    assert re.search(line, run(env, *command))


def test_missing_rights_are_one_clear_line(
    env: dict[str, str], settings: Settings, producer: ConfirmedProducer
) -> None:
    name = f"nobody_{env['EMOSTREAM_GROUP_PREFIX']}"
    query(settings, f"CREATE ROLE {name} LOGIN PASSWORD 'pass'; GRANT SELECT ON schema_migrations TO {name}")
    try:
        parts = urlsplit(env["EMOSTREAM_POSTGRES_DSN"])
        dsn = urlunsplit(parts._replace(netloc=f"{name}:pass@{parts.hostname}:{parts.port}"))
        assert "permission denied for table sink_offsets" in run(env, "sink", EMOSTREAM_POSTGRES_DSN=dsn)
    finally:
        query(settings, f"REVOKE ALL ON schema_migrations FROM {name}; DROP ROLE {name}")


def test_the_writers_rights_suffice(
    env: dict[str, str], settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    name = f"writer_{env['EMOSTREAM_GROUP_PREFIX']}"
    query(settings, f"CREATE ROLE {name} LOGIN PASSWORD 'pass' IN ROLE emostream_writer")
    try:
        parts = urlsplit(env["EMOSTREAM_POSTGRES_DSN"])
        dsn = urlunsplit(parts._replace(netloc=f"{name}:pass@{parts.hostname}:{parts.port}"))
        sink = start("sink", EMOSTREAM_POSTGRES_DSN=dsn, EMOSTREAM_SINK_BACKFILL_INTERVAL_S="1")
        feed(producer, settings, 0, 400)
        wait_for(lambda: rows(settings) == 400, what="nothing is written")
        query(settings, "DELETE FROM posts WHERE origin_offset = 7")
        wait_for(lambda: rows(settings) == 400, what="nothing is filled")
        assert sink.stop() == 0
    finally:
        query(settings, f"DROP ROLE {name}")


def test_an_operator_writes_beside_a_sink_that_waits(
    settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    """The one that waits keeps its partitions, and finds when it may go on that another has been there."""
    waiting = start("sink", EMOSTREAM_SINK_CPU_PERCENT="0.1", EMOSTREAM_SINK_CALM_S="3600")
    feed(producer, settings, 0, 400)
    wait_for(lambda: "consuming" in waiting.log.read_text(), what="the sink has no partitions")
    once = start("sink", "--once", "--force")
    wait_for(lambda: rows(settings) == 400, what="nothing is written")
    assert once.wait(PATIENCE_S) == 0
    feed(producer, settings, 200, 40)
    waiting.check()
