"""Runs a Redis Cluster (Valkey in cluster mode) on loopback: three masters, and a replica of the first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import RedisError

from tests.integration.support import TIMEOUT_S, free_port, wait_for
from tests.integration.valkey_node import ValkeyNode

SLOTS = 16_384
MASTERS = 3
NODE_TIMEOUT_MS = 1_000
"""Milliseconds without an answer after which a node counts as failed."""


class ClusterNode(ValkeyNode):
    """One server of the cluster."""

    def __init__(self, folder: Path) -> None:
        self.bus_port = free_port()
        super().__init__(
            folder,
            cluster_enabled="yes",
            cluster_port=self.bus_port,
            cluster_node_timeout=NODE_TIMEOUT_MS,
            cluster_replica_validity_factor=0,
            repl_diskless_sync_delay=0,  # else a master waits 5 s for more replicas to come
            appendonly="yes",
        )
        self.id: str = self.client.execute_command("CLUSTER", "MYID")

    def meet(self, other: ClusterNode) -> None:
        """Join the cluster of another node."""
        self.client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)

    def knows(self, nodes: int) -> bool:
        """Returns whether this node sees a complete cluster of `nodes` members."""
        info = dict(line.split(":", 1) for line in self.client.execute_command("CLUSTER", "INFO").splitlines())
        return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == nodes


@contextmanager
def running_cluster(folder: Path) -> Iterator[list[ClusterNode]]:
    """Start a cluster. Yields the masters, each with a third of the slots, and then the replica of the first master."""
    with ExitStack() as stack:
        nodes = []
        for number in range(MASTERS + 1):
            node = ClusterNode(folder / f"node-{number}")
            stack.callback(node.close)
            nodes.append(node)
        for number, node in enumerate(nodes[:MASTERS]):
            first, last = (SLOTS * bound // MASTERS for bound in (number, number + 1))
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.meet(nodes[0])
        wait_for(lambda: all(node.knows(len(nodes)) for node in nodes), what="the nodes do not join")
        _replicate(nodes[-1], nodes[0])
        yield nodes


def _replicate(replica: ClusterNode, master: ClusterNode) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            replica.client.execute_command("CLUSTER", "REPLICATE", master.id)
            break
        except RedisError:  # the replica does not know the master yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    wait_for(lambda: _is_linked(replica), what="the replica does not find its master")


def _is_linked(replica: ClusterNode) -> bool:
    info = replica.client.info("replication")
    return info["role"] == "slave" and info["master_link_status"] == "up"
