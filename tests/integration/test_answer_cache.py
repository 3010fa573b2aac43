"""The cache of answers with a real Valkey: fresh, stale and missing answers, failures, and what is not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from streams.errors import DeadlineExceededError, ShuttingDownError
from streams.query.answer_store import JITTER, Entry, encode
from streams.query.lock import HeldLock
from streams.query.metrics import CacheMetrics
from streams.query.open_cache import open_cache
from tests.helpers import make_settings, until
from tests.integration.cache_support import KEY, LOCK, Backend, Cache, opened
from tests.integration.redis_cluster import ClusterNode
from tests.integration.valkey_node import ValkeyNode

LONG = Deadline(600)


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyNode]:
    started = ValkeyNode(tmp_path_factory.mktemp("redis"))
    yield started
    started.close()


@pytest.fixture
def node(shared_node: ValkeyNode) -> ValkeyNode:
    """An empty server."""
    shared_node.client.flushall()
    return shared_node


async def ask(cache: Cache, backend: Backend, key: str = KEY, deadline: Deadline = LONG) -> tuple[bytes, str]:
    answer = await cache.answers.get(key, backend, deadline=deadline)
    return answer.value, answer.result


async def test_an_answer_is_computed_once_and_then_comes_from_the_cache(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url, keep_s=100) as cache:
        computed = await cache.answers.get(KEY, backend, deadline=LONG)
        hit = await cache.answers.get(KEY, backend, deadline=LONG)
    async with opened(node.url) as other:
        assert await ask(other, backend) == (b"answer-1", "hit")
    assert (computed.value, computed.result, hit.result) == (b"answer-1", "computed", "hit")
    assert hit.made_at_ms == computed.made_at_ms
    assert 100_000 * (1 - JITTER) - 60_000 < node.client.pttl(KEY) <= 100_000 * (1 + JITTER)
    assert (cache.count("reads", result="miss"), cache.count("reads", result="hit")) == (1, 1)
    assert cache.count("computations", cause="miss") == 1
    assert node.client.exists(LOCK) == 0


async def test_open_cache_uses_the_settings(node: ValkeyNode) -> None:
    settings = make_settings(redis_url=node.url, query_cache_s=7_200)
    async with open_cache(settings, CacheMetrics(CollectorRegistry())) as answers:
        answer = await answers.get(KEY, Backend(), deadline=LONG)
    assert answer.result == "computed"
    assert node.client.pttl(KEY) > 6_000_000


async def test_identical_questions_wait_for_one_computation(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url) as cache:
        callers = [asyncio.create_task(ask(cache, backend)) for _ in range(200)]
        await until(lambda: cache.count("joined") == 199 and backend.computed == 1)
        for gone in callers[:100]:  # the one that began it, too
            gone.cancel()
        await asyncio.wait(callers[:100])
        backend.go.set()
        assert await asyncio.gather(*callers[100:]) == [(b"answer-1", "computed")] * 100
        assert all(gone.cancelled() for gone in callers[:100])
        assert cache.count("coalesced_reads") > 0
    assert backend.computed == 1


async def test_a_computation_whose_callers_have_all_gone_is_stored(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url) as cache:
        caller = asyncio.create_task(ask(cache, backend))
        await until(lambda: backend.computed == 1)
        caller.cancel()
        await asyncio.wait([caller])
        backend.go.set()
        await until(lambda: node.client.exists(KEY) == 1)
        assert await ask(cache, backend) == (b"answer-1", "hit")


async def test_a_stale_answer_is_returned_and_computed_again_once_in_the_background(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url, fresh_s=0) as cache, opened(node.url, fresh_s=0) as other:
        assert await ask(cache, backend) == (b"answer-1", "computed")
        backend.go.clear()
        for one in (cache, other) * 20:
            assert await ask(one, backend) == (b"answer-1", "stale")
        await until(lambda: backend.computed == 2)
        for one in (cache, other) * 20:
            assert await ask(one, backend) == (b"answer-1", "stale")
        assert backend.computed == 2
        backend.go.set()
        await until(lambda: node.client.exists(LOCK) == 0)
        assert (await ask(cache, backend))[0] != b"answer-1"
    assert cache.count("computations", cause="refresh") + other.count("computations", cause="refresh") >= 1
    assert cache.count("computations", cause="miss") == 1


async def test_a_fresh_answer_is_not_computed_again(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url, fresh_s=3_600) as cache:
        for _ in range(20):
            await ask(cache, backend)
    assert backend.computed == 1


async def test_a_refresh_that_fails_leaves_the_stale_answer_and_is_not_tried_again_at_once(
    node: ValkeyNode, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend()
    async with opened(node.url, fresh_s=0, hold_s=10, pause_s=600) as cache:
        await ask(cache, backend)
        backend.error = UnavailableError("Postgres is away")
        for _ in range(20):
            assert await ask(cache, backend) == (b"answer-1", "stale")
        await until(lambda: node.client.pttl(LOCK) > 10_000)
        for _ in range(20):
            assert await ask(cache, backend) == (b"answer-1", "stale")
        assert cache.count("computation_failures", cause="refresh") == 1
    assert "Postgres is away" in caplog.text


async def test_a_failure_goes_to_all_callers_and_is_not_stored(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    backend.error = UnavailableError("Postgres is away")
    async with opened(node.url) as cache:
        callers = [asyncio.create_task(ask(cache, backend)) for _ in range(20)]
        await until(lambda: cache.count("joined") == 19)
        backend.go.set()
        assert {str(error) for error in await asyncio.gather(*callers, return_exceptions=True)} == {"Postgres is away"}
        assert node.client.keys() == []
        backend.error = None
        assert (await ask(cache, backend))[1] == "computed"
        assert cache.count("computation_failures", cause="miss") == 1


async def test_after_a_failure_the_waiting_process_computes_for_itself(node: ValkeyNode) -> None:
    failing, working = Backend(held=True), Backend()
    failing.error = UnavailableError("Postgres is away")
    async with opened(node.url) as cache, opened(node.url) as other:
        first = asyncio.create_task(ask(cache, failing))
        await until(lambda: failing.computed == 1)
        second = asyncio.create_task(ask(other, working))
        await until(lambda: other.count("lock_waits") == 1)
        assert working.computed == 0
        failing.go.set()
        assert await second == (b"answer-1", "computed")
        with pytest.raises(UnavailableError):
            await first


async def test_a_question_waits_no_longer_than_its_deadline(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url, grace_s=0) as cache, opened(node.url, grace_s=0) as other:
        patient = asyncio.create_task(ask(cache, backend))
        await until(lambda: backend.computed == 1)
        for one in (cache, other):
            with pytest.raises(DeadlineExceededError):
                await ask(one, backend, deadline=Deadline(0.05))
        backend.go.set()
        assert await patient == (b"answer-1", "computed")
    assert backend.computed == 1


async def test_a_process_whose_callers_have_gone_no_longer_waits_for_another_one(
    node: ValkeyNode, caplog: pytest.LogCaptureFixture
) -> None:
    backend, unused = Backend(held=True), Backend()
    async with opened(node.url) as cache, opened(node.url) as other:
        first = asyncio.create_task(ask(cache, backend))
        await until(lambda: backend.computed == 1)
        before = asyncio.all_tasks()
        second = asyncio.create_task(ask(other, unused))
        await until(lambda: other.count("lock_waits") == 1)
        second.cancel()
        await until(lambda: asyncio.all_tasks() <= before)
        backend.go.set()
        assert await first == (b"answer-1", "computed")
    assert unused.computed == 0
    assert caplog.records == []


async def test_a_timeout_of_the_computation_is_not_taken_for_the_deadline(node: ValkeyNode) -> None:
    backend = Backend()
    backend.error = TimeoutError("a timeout of the back end")
    async with opened(node.url) as cache:
        with pytest.raises(TimeoutError, match="back end"):
            await ask(cache, backend)


async def test_an_answer_that_is_too_large_is_returned_but_not_stored(node: ValkeyNode) -> None:
    backend = Backend()
    async with opened(node.url, max_bytes=3) as cache:
        for number in (1, 2):
            assert await ask(cache, backend) == (b"answer-%d" % number, "computed")
        assert cache.count("too_large") == 2


@pytest.mark.parametrize("stored", [b"", b"\x01", b"\x02\x00\x00\x00\x00\x00\x00\x00\x00x", "something else"])
async def test_an_entry_that_cannot_be_read_is_replaced(node: ValkeyNode, stored: bytes) -> None:
    node.client.set(KEY, stored)
    backend = Backend()
    async with opened(node.url) as cache:
        assert await ask(cache, backend) == (b"answer-1", "computed")
        assert await ask(cache, backend) == (b"answer-1", "hit")
        assert cache.count("unreadable") >= 1


async def test_any_bytes_can_be_an_answer(node: ValkeyNode) -> None:
    async with opened(node.url) as cache:
        for number, value in enumerate([b"", b"\xff\x00\r\n", bytes(range(256))]):
            entry = cache.store.made_now(value)
            assert await cache.store.write(f"k{number}", entry)
            assert await cache.store.read(f"k{number}") == entry


@pytest.mark.parametrize("before", ["nothing", "a stale answer"])
async def test_an_answer_that_came_before_the_lock_was_acquired_is_not_computed_again(
    node: ValkeyNode, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """The former holder stores it after this process has read the cache, and before it acquires the lock."""
    backend, acquired = Backend(), asyncio.Event()
    async with opened(node.url) as cache:
        if before == "a stale answer":
            node.client.set(KEY, encode(Entry(b"stale", 0)))
        acquire = cache.locks.acquire

        async def overtaken(key: str) -> HeldLock | None:
            node.client.set(key, encode(cache.store.made_now(b"from another one")))
            held = await acquire(key)
            acquired.set()
            return held

        monkeypatch.setattr(cache.locks, "acquire", overtaken)
        answer = await ask(cache, backend)
        assert answer == ((b"from another one", "computed") if before == "nothing" else (b"stale", "stale"))
        await acquired.wait()
        await until(lambda: node.client.exists(LOCK) == 0)
        assert await ask(cache, backend) == (b"from another one", "hit")
    assert backend.computed == 0


async def test_a_lock_is_freed_by_its_holder_only(node: ValkeyNode) -> None:
    async with opened(node.url, hold_s=60) as cache:
        held = await cache.locks.acquire(KEY)
        assert held is not None
        assert await cache.locks.acquire(KEY) is None
        async with held:
            node.client.set(LOCK, "another one has it now")
        assert node.client.get(LOCK) == "another one has it now"
        node.client.delete(LOCK)
        again = await cache.locks.acquire(KEY)
        assert again is not None
        async with again:
            assert 0 < node.client.pttl(LOCK) <= 60_000
        assert node.client.exists(LOCK) == 0


async def test_close_ends_computations_and_frees_their_locks(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    before = asyncio.all_tasks()
    async with opened(node.url, fresh_s=0) as cache:
        await cache.store.write("stale", cache.store.made_now(b"old"))
        assert await ask(cache, backend, key="stale") == (b"old", "stale")
        waiting = asyncio.create_task(ask(cache, backend))
        await until(lambda: backend.computed == 2)
        assert {node.client.exists(f"{key}:lock") for key in (KEY, "stale")} == {1}
    with pytest.raises(ShuttingDownError):
        await waiting
    assert node.client.keys() == ["stale"]
    assert asyncio.all_tasks() == before


async def test_a_cluster_whose_keys_lie_on_all_masters(redis_cluster: list[ClusterNode]) -> None:
    backend = Backend()
    keys = [f"t:answer:{number}" for number in range(300)]
    async with opened(redis_cluster[0].url, cluster=True) as cache:
        first = await asyncio.gather(*(ask(cache, backend, key=key) for key in keys))
        again = await asyncio.gather(*(ask(cache, backend, key=key) for key in keys))
        assert [value for value, _ in again] == [value for value, _ in first]
        assert {source for _, source in again} == {"hit"}
        assert cache.count("coalesced_reads") > 0
        assert sum(cache.count("redis_failures", operation=name) for name in ("read", "write", "lock")) == 0
    assert backend.computed == 300
