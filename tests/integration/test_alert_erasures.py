"""Deleted posts and accounts are erased from the examples of incidents too, and no explanation brings one back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from connectors.kafka.producer import ConfirmedProducer
from streams.alerts.storage.store import explain, read_incident
from streams.alerts.storage.stored import MAX_EXAMPLES, Explanation
from streams.records import AlertPost, AlertReason, DeletionRecord, Timestamp
from streams.settings import Settings
from streams.sink.history import History
from streams.sink.targets import DELETIONS
from tests.helpers import NOON
from tests.integration.alerts_support import pool, query
from tests.integration.test_alert_delivery import store
from tests.integration.test_backfill import write
from tests.integration.test_erasures import deletion, held_open, send, wait_until_one_waits_for_the_lock
from tests.unit.alert_records import reason, record

POSTS = 8
AUTHORS = {f"p{number}": "ann" if number % 2 else "bob" for number in range(POSTS - 1)}
"""The authors of the posts p0, p1, …; that of the last one is not known. Each is of another day."""


@pytest.fixture
def history(settings: Settings) -> Iterator[History]:
    opened = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    yield opened
    opened.close()


def explanation() -> Explanation:
    posts = [
        AlertPost(f"p{number}", "test", Timestamp.of(NOON + timedelta(days=number)), f"text {number}", url="u")
        for number in range(POSTS)
    ]
    return Explanation(reason(examples=tuple(posts)), AUTHORS)


async def explained(settings: Settings, incident: str) -> list[str]:
    """Store an incident with its explanation, and return the ids of its examples."""
    if not query(settings, f"SELECT 1 FROM alert_incidents WHERE incident = '{incident}'"):
        store(settings, record(incident=incident, reason=reason(examples=())), {})
    async with pool(settings) as opened, opened.connection("explaining") as connection:
        found = await explain(connection, incident, explanation())
    assert found is not None
    return ids(found.reason)


def ids(found: AlertReason) -> list[str]:
    return [post.id for post in found.examples]


async def examples(settings: Settings, incident: str) -> list[str]:
    """Returns the ids of the examples of an incident, which are those that a deletion finds."""
    async with pool(settings) as opened, opened.connection("reading") as connection:
        found = await read_incident(connection, incident)
    assert found is not None
    kept = query(settings, f"SELECT id FROM alert_examples WHERE incident = '{incident}'")
    assert {id_ for (id_,) in kept} == {*ids(found.reason)}
    return ids(found.reason)


def erase(history: History, *deletions: DeletionRecord) -> None:
    with history.transaction("erasing") as connection:
        DELETIONS.lock(connection)
        DELETIONS.merge(connection, deletions)


async def test_an_erasure_reaches_the_examples_also_of_posts_that_the_sink_has_not_written(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    assert await explained(settings, "a") == await explained(settings, "b") == ["p0", "p1", "p2", "p3", "p4"]
    before = query(settings, "SELECT reason - 'examples' FROM alert_incidents")
    assert query(settings, "SELECT count(*) FROM posts") == [(0,)]

    send(producer, settings, deletion(id="p2"), deletion(id="p7"), deletion(id="nobody's"))
    await asyncio.to_thread(write, settings)
    assert await examples(settings, "a") == await examples(settings, "b") == ["p0", "p1", "p3", "p4"]

    # Ann wrote p3 after her account was deleted; another source's Bob is another person.
    send(producer, settings, deletion(day=2, author="ann"), deletion(author="bob", source="another"))
    await asyncio.to_thread(write, settings)
    assert await examples(settings, "a") == await examples(settings, "b") == ["p0", "p3", "p4"]

    send(producer, settings, deletion(day=9, author="bob"), deletion(id="p3"))
    await asyncio.to_thread(write, settings)
    assert await examples(settings, "a") == await examples(settings, "b") == []
    assert query(settings, "SELECT reason - 'examples' FROM alert_incidents") == before
    assert query(settings, "SELECT count(*) FROM alert_incidents WHERE reason::text LIKE '%text 0%'") == [(0,)]


async def test_an_explanation_takes_other_posts_in_place_of_erased_ones(settings: Settings, history: History) -> None:
    erase(history, deletion(id="p0"), deletion(day=1, author="ann"))
    assert await explained(settings, "a") == ["p2", "p3", "p4", "p5", "p6"]
    erase(history, deletion(day=9, author="ann"), deletion(day=9, author="bob"))
    # Nobody knows whose p7 is.
    assert await explained(settings, "b") == ["p7"]
    # The second explanation of an incident changes nothing.
    assert await explained(settings, "a") == await examples(settings, "a") == []


async def test_an_explanation_that_waits_for_a_deletion_sees_it(settings: Settings, history: History) -> None:
    """Without the lock neither of the two would see the other. The database has another isolation level."""
    command = "'ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()"
    query(settings, f"DO $$ BEGIN EXECUTE format({command}); END $$")
    store(settings, record(incident="a", reason=reason(examples=())), {})
    with held_open(history) as connection:
        DELETIONS.lock(connection)
        DELETIONS.merge(connection, [deletion(id="p1")])
        explaining = asyncio.create_task(explained(settings, "a"))
        await asyncio.to_thread(wait_until_one_waits_for_the_lock, settings)
    assert await explaining == ["p0", "p2", "p3", "p4", "p5"]
    assert len(await examples(settings, "a")) == MAX_EXAMPLES
