"""Helpers for tests of a rebuild: running it, damaging the window tables, and checking the result."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster

from streams.ops.demo.processes import Role, clean_environment
from streams.records import EmotionWindow, rfc3339
from streams.settings import Settings
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from tests.chaos.oracle import contents, expected
from tests.integration.redis_cluster import ClusterNode
from tests.integration.support import TIMEOUT_S, balanced, failures, post, records
from tests.integration.valkey_node import ValkeyNode
from tests.tiny_model import tiny_package

Key = tuple[str, int, int]
Start = Callable[..., Role]

_DELETE = """
    local found = redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('SREM', KEYS[4], ARGV[1])
    return found
"""


def emostream(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an `emostream` command."""
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def rebuilt(env: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Rebuild the windows with the command that operators use. Returns its summary."""
    done = emostream(env, "windows", "rebuild", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


class Tables:
    """Direct access to the window tables in Redis, to damage them."""

    def __init__(self, settings: Settings) -> None:
        self._prefix, self._shards = settings.redis_prefix, settings.shards
        kind = RedisCluster if settings.redis_cluster else Redis
        self.client: Any = kind.from_url(settings.redis_url.get_secret_value(), decode_responses=True)

    @property
    def generation(self) -> int:
        return int(self.client.hget(f"{self._prefix}:meta", "generation") or 0)

    def key(self, shard: int, name: str) -> str:
        generation = f"g{self.generation}:" if self.generation else ""
        return f"{self._prefix}:{{{shard}}}:{generation}{name}"

    def window(self, key: WindowKey) -> str:
        return self.key(shard_of(key.keyword, self._shards), f"w:{key.member()}")

    def windows(self, keyword: str) -> int:
        """Returns how many one-minute windows the keyword's shard has."""
        return int(self.client.zcard(self.key(shard_of(keyword, self._shards), "index:60")))

    def delete(self, key: WindowKey) -> None:
        """Delete a window and everything that refers to it, in one step: a worker may be about to add to it."""
        shard = shard_of(key.keyword, self._shards)
        keys = [self.window(key), *(self.key(shard, name) for name in ("open", f"index:{key.size}", "dirty"))]
        assert self.client.eval(_DELETE, len(keys), *keys, key.member()) == 1

    def falsify(self, key: WindowKey) -> None:
        """Add 1,000 posts to a window's count."""
        assert self.client.hincrby(self.window(key), "n", 1_000) > 1_000

    def invent(self, like: WindowKey, key: WindowKey) -> None:
        """Add window `key`, which no post is in, as a copy of `like`, and mark it for publication."""
        shard = shard_of(key.keyword, self._shards)
        row = self.client.hgetall(self.window(like))
        self.client.hset(self.window(key), mapping=row)
        for name in ("open", f"index:{key.size}"):
            self.client.zadd(self.key(shard, name), {key.member(): key.end})
        self.client.sadd(self.key(shard, "dirty"), key.member())

    def sealed(self) -> bool:
        return bool(self.client.hexists(self.key(0, "state"), "sealed_until"))

    def let_the_seal_run_out(self) -> None:
        """As if its time had passed."""
        for shard in range(self._shards):
            self.client.hset(self.key(shard, "state"), "sealed_until", 1)

    def let_the_lock_run_out(self) -> None:
        """As if its time had passed."""
        self.client.hset(f"{self._prefix}:meta", "rebuild_until", 1)

    def left_over(self) -> list[str]:
        """Returns the keys of other generations. The state of the last generation is left out, because it expires."""
        mine = f":g{self.generation}:" if self.generation else "}:"
        every = set(self.client.scan_iter(f"{self._prefix}:*"))
        if not self.generation:
            return sorted(key for key in every if ":g" in key)
        states = {key for key in every if key.endswith(":state") and mine not in key}
        assert all(self.client.pttl(key) in {-2, *range(30_001)} for key in states)  # -2: it has expired since
        return sorted(key for key in every - states if mine not in key and not key.endswith(":meta"))


def counted_by_hand(settings: Settings) -> Any:
    """Returns the windows that follow from the raw topic, as `tests.chaos.oracle` counts them."""
    return expected((partition, value) for partition, _, value in records(settings, settings.topic_raw))


def differences(windows: Iterable[EmotionWindow], wanted: dict[Key, Any]) -> list[str]:
    """Returns the first ten differences between the windows with posts and the expected ones."""
    found = contents(window for window in windows if window.count)
    keys = sorted(found.keys() | wanted.keys())
    return [f"{key}: {found.get(key)}, not {wanted.get(key)}" for key in keys if found.get(key) != wanted.get(key)][:10]


def published(settings: Settings) -> dict[str, list[EmotionWindow]]:
    """Returns the records of the windows topic in order, by key."""
    found: dict[str, list[EmotionWindow]] = {}
    for _, _, value in records(settings, settings.topic_windows):
        window = EmotionWindow.from_json(value)
        found.setdefault(window.key, []).append(window)
    return found


async def check_topic(settings: Settings, store: WindowStore) -> None:
    """Check that the last record of each window equals the window in Redis, and that revisions never decrease."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        await store.refresh()
        state = {window.key: window for window in await store.read()}
        latest = {key: history[-1] for key, history in published(settings).items()}
        if latest == state:
            break
        assert time.monotonic() < deadline, "the windows topic does not reach Redis's state"
        await asyncio.sleep(0.5)
    for key, history in published(settings).items():
        revisions = [window.revision for window in history]
        assert revisions == sorted(revisions), f"{key} went back"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[ValkeyNode]:
    node = ValkeyNode(tmp_path / "redis")
    yield node
    node.close()


@pytest.fixture(params=["one server"])
def env(env: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    tiny_package(tmp_path / "model")
    env = {**env, "EMOSTREAM_MODEL_URI": str(tmp_path / "model")}
    if request.param == "cluster":
        nodes: list[ClusterNode] = request.getfixturevalue("redis_cluster")
        return {**env, "EMOSTREAM_REDIS_URL": f"redis://127.0.0.1:{nodes[0].port}", "EMOSTREAM_REDIS_CLUSTER": "true"}
    node: ValkeyNode = request.getfixturevalue("redis")
    return {**env, "EMOSTREAM_REDIS_URL": node.url}


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    found = Tables(settings)
    yield found
    found.client.close()


def posts(count: int, day: datetime, *, text: str = "hello", keyword: str = "coffee") -> list[bytes]:
    """Returns posts of one hour from `day` on, a second apart."""
    return [
        post(text, created_at=rfc3339(day + timedelta(seconds=number % 3_600)), keywords=[keyword])
        for number in range(count)
    ]


async def caught_up(settings: Settings, store: WindowStore, roles: list[Role]) -> None:
    await store.refresh()
    assert failures(await balanced(settings, store, roles)) == []
