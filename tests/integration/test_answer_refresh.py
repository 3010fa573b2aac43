"""An answer in the cache is refreshed before it is stale, on a real Valkey server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from streams.errors import DeadlineExceededError
from streams.query import read_through as module
from tests.helpers import until
from tests.integration.cache_support import KEY, LOCK, Backend, Cache, opened
from tests.integration.valkey_node import ValkeyNode

LONG = Deadline(600)


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyNode]:
    started = ValkeyNode(tmp_path_factory.mktemp("valkey"))
    yield started
    started.close()


@pytest.fixture
def node(shared_node: ValkeyNode) -> ValkeyNode:
    """An empty server."""
    shared_node.client.flushall()
    return shared_node


async def stored(cache: Cache) -> bytes | None:
    (entry,) = await cache.answers.look([KEY])
    return None if entry is None else entry.value


async def test_a_fresh_answer_is_replaced(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url) as cache:
        assert await cache.answers.look([KEY, "other"]) == [None, None]
        assert await cache.answers.refresh(KEY, backend, deadline=LONG) == "replaced"
        assert await cache.answers.refresh(KEY, backend, deadline=LONG) == "replaced"
        found = await cache.answers.get(KEY, backend, deadline=LONG)
        assert (found.value, found.result) == (b"answer-2", "hit")
        assert cache.count("computations", cause="warm") == 2
        assert cache.count("reads", result="miss") == 0
    assert node.client.exists(LOCK) == 0


async def test_it_is_looked_again_whether_an_answer_is_due(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url) as cache:
        await cache.answers.get(KEY, backend, deadline=LONG)
        found = await cache.answers.refresh(KEY, backend, deadline=LONG, is_due=lambda entry: entry is None)
        assert (found, backend.computed, node.client.exists(LOCK)) == ("not_due", 1, 0)


async def test_a_new_answer_need_not_replace_the_old_one(node: ValkeyNode) -> None:
    backend = Backend()
    asked: list[tuple[bytes | None, bytes]] = []
    async with opened(node.url) as cache:
        await cache.answers.get(KEY, backend, deadline=LONG)
        found = await cache.answers.refresh(
            KEY,
            backend,
            deadline=LONG,
            replaces=lambda old, new: asked.append((old and old.value, new)) or False,  # type: ignore[func-returns-value]
        )
        assert (found, asked) == ("kept", [(b"answer-1", b"answer-2")])
        assert await stored(cache) == b"answer-1"


async def test_an_answer_that_another_process_computes_is_left_to_it(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url) as one, opened(node.url) as other:
        computing = asyncio.create_task(one.answers.get(KEY, backend, deadline=LONG))
        await until(lambda: backend.computed == 1)
        assert await other.answers.refresh(KEY, backend, deadline=LONG) == "locked"
        backend.go.set()
        await computing
        assert backend.computed == 1


async def test_questions_wait_for_a_refresh_of_an_absent_answer(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url) as one, opened(node.url) as other:
        refreshing = asyncio.create_task(one.answers.refresh(KEY, backend, deadline=LONG))
        await until(lambda: backend.computed == 1)
        asking = asyncio.create_task(other.answers.get(KEY, backend, deadline=LONG))
        await until(lambda: other.count("lock_waits") == 1)
        backend.go.set()
        assert (await refreshing, (await asking).value, backend.computed) == ("replaced", b"answer-1", 1)


async def test_a_failure_leaves_the_old_answer_and_frees_the_lock(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url) as cache:
        await cache.answers.get(KEY, backend, deadline=LONG)
        backend.error = UnavailableError("no server answers")
        with pytest.raises(UnavailableError, match="no server answers"):
            await cache.answers.refresh(KEY, backend, deadline=LONG)
        assert await stored(cache) == b"answer-1"
        assert cache.count("computation_failures", cause="warm") == 1
        assert node.client.exists(LOCK) == 0
        backend.error = None
        assert await cache.answers.refresh(KEY, backend, deadline=LONG) == "replaced"


async def test_a_computation_without_an_end_is_ended(node: ValkeyNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPUTATION_GRACE_S", 0.05)
    async with opened(node.url) as cache:
        with pytest.raises(DeadlineExceededError):
            await cache.answers.refresh(KEY, Backend(held=True), deadline=Deadline(0))
        assert (await stored(cache), node.client.exists(LOCK)) == (None, 0)


async def test_an_answer_that_is_too_large_is_not_stored(node: ValkeyNode) -> None:
    async with opened(node.url, max_bytes=3) as cache:
        assert await cache.answers.refresh(KEY, Backend(), deadline=LONG) == "not_stored"
        assert cache.count("too_large") == 1


async def test_a_refresh_that_is_cancelled_frees_the_lock(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url) as cache:
        refreshing = asyncio.create_task(cache.answers.refresh(KEY, backend, deadline=LONG))
        await until(lambda: backend.computed == 1)
        refreshing.cancel()
        await asyncio.wait([refreshing])
        assert node.client.exists(LOCK) == 0


async def test_redis_away_is_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    backend = Backend()
    async with opened("redis://127.0.0.1:9") as cache:
        with pytest.raises(UnavailableError):
            await cache.answers.look([KEY, "other"])
        with pytest.raises(UnavailableError):
            await cache.answers.refresh(KEY, backend, deadline=LONG)
    assert backend.computed == 0
