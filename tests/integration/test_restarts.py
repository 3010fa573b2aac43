"""Kafka and Postgres are stopped under running processes, on servers of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from connectors.local import LocalStack
from streams.connections import kafka_config
from streams.ingest.keywords.follower import KeywordFollower
from streams.ingest.keywords.store import add_keywords, remove_keywords
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture
from tests.integration.support import TIMEOUT_S, balanced, failures, good_posts, offsets, produce, wait_for

Start = Callable[..., Role]


async def test_kafka_and_postgres_go_away_and_come_back(
    own_stack: LocalStack, settings: Settings, store: WindowStore, start: Start
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(800))
    wait_for(lambda: offsets(settings, settings.topic_classified) > 0, what="the worker is idle")

    # Both processes live through it.
    await asyncio.gather(*(asyncio.to_thread(own_stack.stop, name) for name in ("postgres", "kafka")))
    await asyncio.sleep(1)
    await asyncio.gather(*(asyncio.to_thread(own_stack.start, name) for name in ("postgres", "kafka")))
    assert failures(await balanced(settings, store, [worker, sink])) == []

    # Told to stop while the broker is away, they do, and their successors go on.
    produce(settings, good_posts(800))
    await asyncio.to_thread(own_stack.stop, "kafka")
    codes = await asyncio.gather(asyncio.to_thread(worker.stop), asyncio.to_thread(sink.stop))
    logs = [await asyncio.to_thread(role.log.read_text) for role in (worker, sink)]
    assert codes == [0, 0], logs
    assert "Traceback" not in "".join(logs)
    await asyncio.to_thread(own_stack.start, "kafka")
    successors = [start("worker"), start("sink")]
    assert failures(await balanced(settings, store, successors)) == []


def test_keywords_are_followed_after_kafka_was_away(own_stack: LocalStack, settings: Settings) -> None:
    """A follower that ran all the time and one that starts afterwards have the same keywords."""
    config, group = kafka_config(settings), f"{settings.group_prefix}-keywords"
    text = "tea or coffee or milk"
    with KeywordFollower(config, settings.topic_keywords, group=group) as first:
        add_keywords(settings, ["tea", "coffee"])
        wait_for(lambda: first.complete and len(first.matcher()) == 2, what="the keywords are not followed")
        own_stack.stop("kafka")
        assert first.matcher().find(text) == ("tea", "coffee")
        with KeywordFollower(config, settings.topic_keywords, group=group) as second:
            assert not second.wait_until_complete(1)
            own_stack.start("kafka")
            assert second.wait_until_complete(TIMEOUT_S)
            assert second.matcher().find(text) == ("tea", "coffee")
            add_keywords(settings, ["milk"])
            remove_keywords(settings, ["coffee"])
            for one in (first, second):
                wait_for(lambda one=one: one.matcher().find(text) == ("tea", "milk"), what="a change is not followed")
