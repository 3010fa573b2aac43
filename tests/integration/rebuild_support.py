"""Helpers of the rebuild tests: run a rebuild, damage the window tables, and check the result."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster

from streams.ops.demo.processes import clean_environment
from streams.records import EmotionWindow
from streams.settings import Settings
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from tests.chaos.oracle import contents, expected
from tests.integration.support import records

Key = tuple[str, int, int]


def emostream(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rebuilt(env: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Rebuild as an operator does; returns the summary."""
    done = emostream(env, "windows", "rebuild", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


class Tables:
    """The window tables in Redis, and ways to damage them."""

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
        """Returns how many windows of a minute the keyword's shard has."""
        return int(self.client.zcard(self.key(shard_of(keyword, self._shards), "index:60")))

    def delete(self, key: WindowKey) -> None:
        """Remove a window without a trace."""
        shard = shard_of(key.keyword, self._shards)
        assert self.client.delete(self.window(key)) == 1
        for name in ("open", f"index:{key.size}"):
            self.client.zrem(self.key(shard, name), key.member())
        self.client.srem(self.key(shard, "dirty"), key.member())

    def falsify(self, key: WindowKey) -> None:
        assert self.client.hincrby(self.window(key), "n", 1_000) > 1_000

    def invent(self, like: WindowKey, key: WindowKey) -> None:
        """Add a window without posts, as a copy of another window. It will be published."""
        shard = shard_of(key.keyword, self._shards)
        row = self.client.hgetall(self.window(like))
        self.client.hset(self.window(key), mapping=row)
        for name in ("open", f"index:{key.size}"):
            self.client.zadd(self.key(shard, name), {key.member(): key.end})
        self.client.sadd(self.key(shard, "dirty"), key.member())

    def sealed(self) -> bool:
        return bool(self.client.hexists(self.key(0, "state"), "sealed_until"))

    def left_over(self) -> list[str]:
        """Returns the keys of other generations, except for the states of the last one, which expire."""
        mine = f":g{self.generation}:" if self.generation else "}:"
        every = set(self.client.scan_iter(f"{self._prefix}:*"))
        if not self.generation:
            return sorted(key for key in every if ":g" in key)
        states = {key for key in every if key.endswith(":state") and mine not in key}
        assert all(0 < self.client.pttl(key) <= 30_000 for key in states)
        return sorted(key for key in every - states if mine not in key and not key.endswith(":meta"))


def counted_by_hand(settings: Settings) -> Any:
    return expected((partition, value) for partition, _, value in records(settings, settings.topic_raw))


def differences(windows: Iterable[EmotionWindow], wanted: dict[Key, Any]) -> list[str]:
    """Returns up to ten windows with posts that differ from the count by hand."""
    found = contents(window for window in windows if window.count)
    keys = sorted(found.keys() | wanted.keys())
    return [f"{key}: {found.get(key)}, not {wanted.get(key)}" for key in keys if found.get(key) != wanted.get(key)][:10]


def published(settings: Settings) -> dict[str, list[EmotionWindow]]:
    """Returns the records of the windows topic by key, in order."""
    found: dict[str, list[EmotionWindow]] = {}
    for _, _, value in records(settings, settings.topic_windows):
        window = EmotionWindow.from_json(value)
        found.setdefault(window.key, []).append(window)
    return found


async def check_topic(settings: Settings, store: WindowStore) -> None:
    """Check that the last record of each window is that of Redis, and that revisions never fall."""
    deadline = time.monotonic() + 60
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
