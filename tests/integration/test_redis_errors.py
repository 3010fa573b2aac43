"""What a busy, a full and a forbidding Redis answer, and which error it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import ResponseError

from connectors.errors import RejectedError, UnavailableError
from connectors.redis import RedisClient, connect, redis_errors
from tests.integration.valkey_node import ValkeyNode

ENDLESS = "while true do end"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ValkeyNode]:
    started = ValkeyNode(tmp_path / "redis", busy_reply_threshold=1, maxmemory="2mb")
    yield started
    started.close()


@pytest.fixture
async def client(node: ValkeyNode) -> AsyncIterator[RedisClient]:
    opened = connect(node.url)
    yield opened
    await opened.aclose()


async def test_a_redis_that_is_busy_with_a_script(node: ValkeyNode, client: RedisClient) -> None:
    async def answer() -> str:
        try:
            with redis_errors("reading"):
                await client.get("key")
        except UnavailableError as exc:
            return str(exc)
        return ""

    script = asyncio.create_task(asyncio.to_thread(node.client.eval, ENDLESS, 0))
    while not (said := await answer()) and not script.done():
        pass  # the script has not begun
    assert said.startswith("Redis is busy with a script while reading: ")
    node.client.script_kill()  # on another connection than the script's
    with pytest.raises(ResponseError, match="Script killed"):
        await script
    assert await answer() == ""


async def test_a_full_redis(client: RedisClient) -> None:
    async def fill(script: str) -> None:
        with redis_errors("counting"):
            for number in range(1_000):
                await client.eval(script, 1, f"key-{number}", "x" * 10_000)  # type: ignore[misc] # redis-py's types

    with pytest.raises(UnavailableError, match=r"^Redis is full while counting: .*raise maxmemory"):
        await fill("return redis.call('SET', KEYS[1], ARGV[1])")


async def test_a_user_who_may_not_read_the_layout_of_a_cluster_is_not_told_that_there_is_none(node: ValkeyNode) -> None:
    node.client.execute_command("ACL", "SETUSER", "some", "on", "nopass", "~*", "+@all", "-cluster")
    client = connect(node.url.replace("//", "//some:any@"), cluster=True)
    with pytest.raises(RejectedError, match="permissions") as caught, redis_errors("reading"):
        await client.get("key")
    assert "EMOSTREAM_REDIS_CLUSTER" not in str(caught.value)
    await client.aclose()
