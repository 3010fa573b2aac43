"""A Redis Cluster (Valkey in cluster mode) on loopback: three masters, and a replica of the first."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from redis import Redis, RedisError

from connectors.local.valkey import binary
from tests.integration.support import free_port, wait_for

SLOTS = 16_384
MASTERS = 3
NODE_TIMEOUT_MS = 1_000
"""After it a node that does not answer is taken for failed."""


class ClusterNode:
    """One server of the cluster."""

    def __init__(self, folder: Path) -> None:
        self.port, self._bus_port = free_port(), free_port()
        folder.mkdir()
        config = {
            "bind": "127.0.0.1",
            "port": self.port,
            "cluster-enabled": "yes",
            "cluster-port": self._bus_port,
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-replica-validity-factor": 0,
            "dir": folder,
            "appendonly": "yes",
            "save": '""',
        }
        file = folder / "valkey.conf"
        file.write_text("".join(f"{name} {value}\n" for name, value in config.items()))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([binary(), file], stdout=log, stderr=subprocess.STDOUT)
        self.client: Redis = Redis(port=self.port, decode_responses=True)
        wait_for(self._answers, seconds=20, what=f"no Valkey on port {self.port}: {folder / 'log'}")
        self.id: str = self.client.execute_command("CLUSTER", "MYID")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def meet(self, other: ClusterNode) -> None:
        """Become part of the other's cluster."""
        self.client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other._bus_port)

    def knows(self, nodes: int) -> bool:
        """Whether the cluster is whole for this node, with so many members."""
        info = dict(line.split(":", 1) for line in self.client.execute_command("CLUSTER", "INFO").splitlines())
        return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == nodes

    def kill(self) -> None:
        """End it with SIGKILL: what it had not sent to its replica is lost."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()


@contextmanager
def running_cluster(folder: Path) -> Iterator[list[ClusterNode]]:
    """The masters, each with a third of the slots, and then the replica of the first."""
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
        wait_for(lambda: all(node.knows(len(nodes)) for node in nodes), seconds=30, what="the nodes do not join")
        _replicate(nodes[-1], nodes[0])
        yield nodes


def _replicate(replica: ClusterNode, master: ClusterNode) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            replica.client.execute_command("CLUSTER", "REPLICATE", master.id)
            break
        except RedisError:  # it has not heard of its master yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    wait_for(lambda: _is_linked(replica), seconds=30, what="the replica does not find its master")


def _is_linked(replica: ClusterNode) -> bool:
    info = replica.client.info("replication")
    return info["role"] == "slave" and info["master_link_status"] == "up"


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterNode]]:
    """A cluster that no test may break."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes
