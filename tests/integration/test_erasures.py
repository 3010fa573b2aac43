"""Deleted posts and accounts are erased from Postgres, whenever their posts come; nothing that is counted changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.postgres import Connection
from streams.ingest.authors import Authors
from streams.ops.demo.processes import Role
from streams.records import ClassifiedPost, DeletionReason, DeletionRecord
from streams.settings import Settings
from streams.sink import erasures_sql, ledger_sql, offsets_sql
from streams.sink.erasures_sql import PostKey, are_erased
from streams.sink.history import History
from streams.sink.ledger import Span
from streams.sink.targets import DELETIONS, posts_of
from streams.windows.store import WindowStore
from tests.doc_pages import ROOT, blocks
from tests.helpers import NOON, row_of
from tests.integration.audit_support import System
from tests.integration.support import wait_for
from tests.integration.test_audit import posts as posts_to_count
from tests.integration.test_backfill import check, feed, fill, write
from tests.integration.test_commands import run
from tests.integration.test_sink import classified, query

PRIVACY = ROOT / "docs/privacy.md"
POSTS = posts_of("posts.raw")
DAYS = 4
PER_DAY = 12
KEY = "0123456789abcdef"


@pytest.fixture
def history(settings: Settings) -> Iterator[History]:
    opened = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    yield opened
    opened.close()


def made_posts() -> list[ClassifiedPost]:
    """Posts of four days and four partitions, one an hour; each third is by Ann, and the others by Bob."""
    return [
        classified(
            number // 4,
            number % 4,
            created_at=NOON + timedelta(days=number // PER_DAY, hours=number % PER_DAY),
            author="ann" if number % 3 == 0 else "bob",
            url="https://example.org/",
        )
        for number in range(DAYS * PER_DAY)
    ]


def as_version_of(post: ClassifiedPost, other: ClassifiedPost) -> ClassifiedPost:
    """Returns a post as a later version of another one: with its id."""
    return replace(post, id=other.id, author=other.author)


def deletion(day: int = DAYS, **of: str) -> DeletionRecord:
    at = NOON + timedelta(days=day)
    return DeletionRecord(at=at, reason=DeletionReason.NETWORK, **({"source": "test"} | of))  # type: ignore[arg-type]


def send(producer: ConfirmedProducer, settings: Settings, *deletions: DeletionRecord) -> None:
    producer.submit([Outgoing(settings.topic_deletions, one.to_json(), one.key) for one in deletions]).result(120)


def erased(settings: Settings) -> set[str]:
    """Returns the ids of the erased posts. A post is erased in full or not at all."""
    wrong = "(erased_at IS NULL) <> (text IS NOT NULL AND author IS NOT NULL AND url IS NOT NULL)"
    wrong += " OR num_nulls(text, author, url) NOT IN (0, 3)"
    assert query(settings, f"SELECT id FROM posts WHERE {wrong}") == []
    return {str(id_) for (id_,) in query(settings, "SELECT id FROM posts WHERE erased_at IS NOT NULL")}


def counts(settings: Settings) -> list[tuple[object, ...]]:
    return query(settings, "SELECT label, sentiment_label, source, lang, count(*) FROM posts GROUP BY 1, 2, 3, 4")


def by(author: str, posts: Sequence[ClassifiedPost], *, until_day: int = DAYS) -> set[str]:
    return {post.id for post in posts if post.author == author and post.created_at <= NOON + timedelta(days=until_day)}


def test_posts_are_erased_and_what_is_counted_stays(
    settings: Settings, history: History, producer: ConfirmedProducer
) -> None:
    posts = made_posts()
    posts[-2] = as_version_of(posts[-2], posts[-1])
    feed(producer, settings, posts)
    write(settings)
    before = counts(settings)
    assert erased(settings) == set()

    send(producer, settings, deletion(id="0-0"), deletion(id="3-11"), deletion(id="nobody's"), deletion(id="0-0"))
    write(settings)
    assert erased(settings) == {"0-0", "3-11"}
    assert query(settings, "SELECT count(*) FROM posts WHERE erased_at IS NOT NULL") == [(3,)], "both versions"
    assert counts(settings) == before
    assert check(settings, history).complete, "the ledger has the checksums of the erased rows"

    # Those of the last day were created after the account was deleted.
    send(producer, settings, deletion(day=3, author="ann"), deletion(day=1, author="ann"), deletion(author="nobody"))
    send(producer, settings, deletion(author="bob", source="another"))
    write(settings)
    assert erased(settings) == {"0-0", "3-11"} | by("ann", posts, until_day=3)
    assert counts(settings) == before
    assert check(settings, history).complete
    rows = query(settings, "SELECT id, reason, rows FROM erased_posts ORDER BY 1")
    assert rows == [("0-0", "network", 1), ("3-11", "network", 2), ("nobody's", "network", 0)]
    rows = query(settings, "SELECT source, author, at, rows FROM erased_authors ORDER BY 1, 2")
    # 0-0 was Ann's, and erased before.
    assert rows[1] == ("test", "ann", NOON + timedelta(days=3), len(by("ann", posts, until_day=3)) - 1)
    assert [row[3] for row in rows] == [0, rows[1][3], 0]


def test_a_post_that_comes_after_its_deletion_is_stored_erased(
    settings: Settings, history: History, producer: ConfirmedProducer
) -> None:
    posts = made_posts()
    send(producer, settings, deletion(id="1-1"), deletion(day=2, author="bob"))
    write(settings)
    feed(producer, settings, [*posts, *posts[:8]])
    write(settings)
    wanted = {"1-1"} | by("bob", posts, until_day=2)
    assert erased(settings) == wanted
    assert check(settings, history).complete
    keys = [PostKey(post.id, post.source, post.author, post.created_at) for post in posts]
    with history.transaction("looking erasures up") as connection:
        assert [key.id for key, found in zip(keys, are_erased(connection, keys), strict=True) if found] == [
            post.id for post in posts if post.id in wanted
        ]
        assert are_erased(connection, []) == []


def test_a_backfill_writes_erased_posts_without_what_was_erased(
    settings: Settings, history: History, producer: ConfirmedProducer
) -> None:
    posts = made_posts()
    feed(producer, settings, posts)
    write(settings)
    send(producer, settings, deletion(day=3, author="ann"), deletion(id="2-5"))
    write(settings)
    wanted, before = erased(settings), counts(settings)
    assert wanted == {"2-5"} | by("ann", posts, until_day=3)

    query(settings, "DELETE FROM posts WHERE origin_partition = 1; UPDATE posts SET label = 'x' WHERE id = '2-6'")
    query(settings, f"DELETE FROM sink_ledger WHERE topic = '{settings.topic_deletions}'")
    found = fill(settings, history)
    # The rows of a partition, and both deletions; the changed row was there.
    assert (found.rows_filled, len(found.holes)) == (DAYS * PER_DAY // 4 + 2, 3)
    assert erased(settings) == wanted
    assert counts(settings) == before
    assert check(settings, history).complete


def test_restored_rows_are_erased_by_the_statements_of_the_page(
    settings: Settings, history: History, producer: ConfirmedProducer
) -> None:
    posts = made_posts()
    feed(producer, settings, posts)
    write(settings)
    query(settings, "CREATE TABLE backup AS SELECT * FROM posts_20260302")
    send(producer, settings, deletion(day=2, author="ann"), deletion(id="0-5"), deletion(id="0-0"))
    write(settings)
    wanted = erased(settings)
    query(settings, "TRUNCATE posts_20260302; INSERT INTO posts SELECT * FROM backup")
    assert erased(settings) < wanted
    (statements,) = [text for text in blocks(PRIVACY.read_text("utf-8"), "sql") if "UPDATE posts" in text]
    query(settings, statements)
    assert erased(settings) == wanted
    assert check(settings, history).complete


def test_more_rows_than_a_page(
    settings: Settings, history: History, producer: ConfirmedProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures_sql, "PAGE", 3)
    posts = made_posts()
    feed(producer, settings, posts)
    write(settings)
    monkeypatch.setattr(erasures_sql, "FEW", 5)
    send(producer, settings, deletion(author="ann"), *(deletion(id=post.id) for post in posts[:9]))
    write(settings)
    assert erased(settings) == by("ann", posts) | {post.id for post in posts[:9]}
    assert check(settings, history).complete


@pytest.fixture
def slow(settings: Settings) -> Iterator[History]:
    """A second connection, whose transaction the test holds open."""
    opened = History(settings.postgres_dsn.get_secret_value(), application_name="slow")
    yield opened
    opened.close()


@contextmanager
def held_open(history: History) -> Iterator[Connection]:
    with history.transaction("a slow transaction") as connection:
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection


def wait_until_one_waits_for_the_lock(settings: Settings) -> None:
    waits = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
        "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    wait_for(lambda: query(settings, waits) == [(1,)], what="no transaction waits for the lock")


def test_no_post_slips_through_while_its_deletion_is_applied(
    settings: Settings, history: History, slow: History
) -> None:
    """Without the lock the deletion would not see the row, and the row's transaction not the deletion."""
    topic = settings.topic_classified
    history.start_offsets(topic, {0: (0, 9)})
    history.start_offsets("d", {0: (0, 9)})
    row, span = row_of(classified(7, author="ann", url="u")), Span(0, 0, 1, 1)
    with ThreadPoolExecutor(1) as pool:
        # As `History.write` does it, one step at a time.
        with held_open(slow) as connection:
            POSTS.copy_to_staging(connection, [row])
            offsets_sql.lock(connection, topic, [0])
            POSTS.lock(connection)
            POSTS.merge(connection, [row])
            deleting = pool.submit(history.write, "d", DELETIONS, [deletion(id="0-7")], [span])
            wait_until_one_waits_for_the_lock(settings)
            ranges = POSTS.ledger_ranges(connection, [span], [row], ledger_sql.last_ranges(connection, topic, [0]))
            offsets_sql.update(connection, topic, {0: 1})
            ledger_sql.store(connection, topic, ranges)
        deleting.result(120)
    assert erased(settings) == {"0-7"}
    assert check(settings, history).complete


def test_a_post_that_waits_for_its_deletion_sees_it(settings: Settings, history: History, slow: History) -> None:
    """Its transaction begins before the deletion is committed, and the database has another isolation level."""
    command = "'ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()"
    query(settings, f"DO $$ BEGIN EXECUTE format({command}); END $$")
    topic = settings.topic_classified
    history.start_offsets(topic, {0: (0, 9)})
    row, span = row_of(classified(7, author="ann", url="u")), Span(0, 0, 1, 1)
    with ThreadPoolExecutor(1) as pool:
        with held_open(slow) as connection:
            DELETIONS.lock(connection)
            DELETIONS.merge(connection, [deletion(id="0-7")])
            writing = pool.submit(history.write, topic, POSTS, [row], [span])
            wait_until_one_waits_for_the_lock(settings)
        writing.result(120)
    assert erased(settings) == {"0-7"}
    assert check(settings, history).complete


async def test_the_audit_balances_after_an_erasure(
    settings: Settings, store: WindowStore, producer: ConfirmedProducer
) -> None:
    system = System(settings, store, producer)
    posts = [replace(post, text="a text", author="ann", url="u") for post in posts_to_count(20)]
    await system.add(posts)
    await system.publish()
    send(producer, settings, deletion(id=posts[3].id), deletion(id=posts[4].id))
    system.publish_read([])
    assert erased(settings) == {posts[3].id, posts[4].id}
    await system.assert_balanced()


def test_an_operator_erases_by_hand(
    settings: Settings, env: dict[str, str], producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    env = {**env, "EMOSTREAM_AUTHOR_KEY": KEY}
    hashed = Authors("hash", KEY).written("bluesky", "did:plc:ann")
    posts = [classified(number, author=hashed, source="bluesky", url="u") for number in range(5)]
    feed(producer, settings, [*posts, *(classified(number, author="Bob", url="u") for number in range(5, 9))])
    write(settings)

    unapplied = run(env, "forget", "--id", "0-5", "--yes", "--wait", "0.1", "--json")
    assert (unapplied.returncode, json.loads(unapplied.stdout)["applied"]) == (1, False)
    start("sink")
    words = ("forget", "--author", "did:plc:ann", "--source", "bluesky", "--id", "0-6", "--wait", "50")
    asked = run(env, *words, stdin="y\n")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip() == f"2 deletions sent to {settings.topic_deletions} and applied: 6 rows erased"
    assert "Erase the posts of 0-6, did:plc:ann for good?" in asked.stderr
    assert erased(settings) == {f"0-{number}" for number in range(7)}

    stored = run(env, "forget", "--author", "Bob", "--source", "test", "--as-stored", "--wait", "50", "--yes")
    assert stored.returncode == 0, stored.stderr
    assert erased(settings) == {f"0-{number}" for number in range(9)}
    assert query(settings, "SELECT DISTINCT reason FROM erased_posts") == [("operator",)]
