"""The windows on a Redis Cluster: the whole pipeline, and a master that dies under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from redis.cluster import RedisCluster

from connectors import redis as redis_connector
from connectors.errors import RejectedError
from connectors.local import Endpoints
from connectors.redis import redis_errors
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.redis_cluster import ClusterNode, running_cluster
from tests.integration.support import balanced, failures, good_posts, produce, wait_for

Start = Callable[..., Role]


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterNode]]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def env(env: dict[str, str], own_cluster: list[ClusterNode]) -> dict[str, str]:
    """Any node of the cluster will do: here the second, which does not die."""
    url = f"redis://127.0.0.1:{own_cluster[1].port}"
    return {**env, "EMOSTREAM_REDIS_URL": url, "EMOSTREAM_REDIS_CLUSTER": "true", "EMOSTREAM_SHARDS": "8"}


async def test_a_client_of_the_wrong_kind_is_told_so(
    settings: Settings, own_cluster: list[ClusterNode], endpoints: Endpoints
) -> None:
    alone = redis_connector.connect(settings.redis_url.get_secret_value())

    async def read_some() -> None:
        for number in range(20):  # some of them lie on other nodes
            await alone.get(f"key-{number}")

    with pytest.raises(RejectedError, match="EMOSTREAM_REDIS_CLUSTER=true"), redis_errors("reading"):
        await read_some()
    await alone.aclose()
    of_many = redis_connector.connect(endpoints.redis_url, cluster=True)
    with pytest.raises(RejectedError, match="EMOSTREAM_REDIS_CLUSTER=false"), redis_errors("reading"):
        await of_many.get("key")
    await of_many.aclose()


async def test_a_master_dies_and_its_replica_takes_over(
    settings: Settings, store: WindowStore, start: Start, own_cluster: list[ClusterNode]
) -> None:
    """What the replica had not got yet is counted again: its shards stand at an earlier position."""
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(600))
    assert failures(await balanced(settings, store, [worker, sink])) == []
    assert _shards_by_master(settings).keys() == {node.port for node in own_cluster[:3]}, "a master has no shard"

    produce(settings, good_posts(3_000))
    own_cluster[0].kill()
    produce(settings, good_posts(3_000))

    assert failures(await balanced(settings, store, [worker, sink])) == []
    assert {window.size for window in await store.read(keyword="*")} == {60, 300, 3_600, 86_400}
    wait_for(lambda: own_cluster[3].client.role()[0] == "master", what="the replica was never promoted")
    for role in (worker, sink):
        assert await asyncio.to_thread(role.stop) == 0
        assert "Traceback" not in await asyncio.to_thread(role.log.read_text)


def _shards_by_master(settings: Settings) -> dict[int, list[int]]:
    client = RedisCluster.from_url(settings.redis_url.get_secret_value())
    found: dict[int, list[int]] = {}
    for shard in range(settings.shards):
        node = client.get_node_from_key(f"{settings.redis_prefix}:{{{shard}}}:state")
        assert node is not None
        found.setdefault(int(node.port), []).append(shard)
    client.close()
    return found
