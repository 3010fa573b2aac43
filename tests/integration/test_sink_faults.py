"""The sink with records that Postgres rejects, with a full disk, another schema and missing rights."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from connectors.kafka.producer import ConfirmedProducer
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.ops.demo.processes import Role
from streams.records import DeadPost, DeadReason
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S, wait_for
from tests.integration.test_failures import run
from tests.integration.test_sink import classified, feed, query, record_of, rows

Start = Callable[..., Role]


def dead(settings: Settings) -> list[DeadPost]:
    scan = TopicScan(kafka_config(settings), settings.topic_dead, group=scan_group(settings))
    letters = [DeadPost.from_json(message.value() or b"") for message in scan.messages()]
    scan.close()
    return letters


def test_rows_that_postgres_rejects_are_dead_lettered_and_the_rest_is_written(
    settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    """Rows with a NUL character, which the type text does not allow, and rows that violate a constraint."""
    query(settings, "ALTER TABLE posts ADD CONSTRAINT no_elves CHECK (author <> 'elf')")
    poison = {17: {"label": "jo\0y"}, 40: {"source": "\0"}, 60: {"author": "elf"}, 61: {"author": "elf"}}
    posts = [classified(2_000 + offset, **poison.get(offset, {})) for offset in range(100)]
    feed(producer, settings, 1_000, 40)
    producer.submit([record_of(settings, post) for post in posts]).result(120)
    sink = start("sink")
    wait_for(lambda: rows(settings) == 40 + 96, what="the rest is not written")
    sink.check()

    letters = dead(settings)
    assert {letter.reason for letter in letters} == {DeadReason.NOT_STORABLE}
    offsets = sorted(letter.origin.offset for letter in letters)
    # The partition has 11 records before them: 10 posts, and the one that `feed` writes twice.
    first = offsets[0] - 17
    assert offsets == [first + offset for offset in poison]
    assert {letter.origin.topic for letter in letters} == {settings.topic_classified}
    assert all("PostgreSQL does not take the data" in letter.error for letter in letters)
    ranges = f"SELECT sum(records), sum(rows) FROM sink_ledger WHERE topic = '{settings.topic_classified}'"
    assert query(settings, ranges) == [(44 + 100, 40 + 96)]


def test_the_sink_waits_until_a_full_disk_has_room(
    settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    """The error is PostgreSQL's own, raised by a trigger: a disk cannot be filled everywhere that tests run."""
    query(
        settings,
        """
        CREATE SEQUENCE tries;
        GRANT USAGE ON SEQUENCE tries TO public;
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM nextval('tries');  -- stays, also after the rollback
            RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
        END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON posts FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
        """,
    )
    feed(producer, settings, 0, 400)
    sink = start("sink")
    again = "SELECT last_value >= 3 FROM tries"  # the log has the error once a minute
    wait_for(lambda: query(settings, again) == [(True,)], what="the sink does not try again")
    sink.check()
    assert "PostgreSQL has no room left while writing" in sink.log.read_text()
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
def test_another_schema_is_an_error_of_one_line(
    env: dict[str, str], settings: Settings, change: str, line: str, command: list[str]
) -> None:
    query(settings, change)
    assert re.search(line, run(env, *command))


def test_missing_rights_are_an_error_of_one_line(
    env: dict[str, str], settings: Settings, producer: ConfirmedProducer
) -> None:
    name = f"nobody_{env['EMOSTREAM_GROUP_PREFIX']}"
    query(settings, f"CREATE ROLE {name} LOGIN PASSWORD 'pass'; GRANT SELECT ON schema_migrations TO {name}")
    try:
        parts = urlsplit(env["EMOSTREAM_POSTGRES_DSN"])
        dsn = urlunsplit(parts._replace(netloc=f"{name}:pass@{parts.hostname}:{parts.port}"))
        assert "permission denied for table sink_topics" in run(env, "sink", EMOSTREAM_POSTGRES_DSN=dsn)
    finally:
        query(settings, f"REVOKE ALL ON schema_migrations FROM {name}; DROP ROLE {name}")


def test_the_role_emostream_writer_has_the_rights_that_the_sink_needs(
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


def test_a_forced_sink_writes_while_another_one_waits(
    settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    """The sink that waits keeps its partitions, and goes on without an error."""
    waiting = start("sink", EMOSTREAM_SINK_CPU_PERCENT="0.1", EMOSTREAM_SINK_CALM_S="3600")
    feed(producer, settings, 0, 400)
    wait_for(lambda: "consuming" in waiting.log.read_text(), what="the sink has no partitions")
    once = start("sink", "--once", "--force")
    wait_for(lambda: rows(settings) == 400, what="nothing is written")
    assert once.wait(TIMEOUT_S) == 0
    feed(producer, settings, 200, 40)
    waiting.check()
