"""Two processes ask the same question at the moment at which its answer expires: it is computed once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.query.answer_store import Entry, encode
from tests.integration.cache_support import CALLERS, KEY, LOCK, AskingProcess
from tests.integration.support import wait_for
from tests.integration.valkey_node import ValkeyNode

HOLD_S = 3
"""The time of a lock. A slow machine must not stop a process for two thirds of it."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ValkeyNode]:
    started = ValkeyNode(tmp_path / "redis")
    yield started
    started.close()


class Pair:
    """Two processes that ask, and what the back end knows."""

    def __init__(self, node: ValkeyNode, *, hold_s: float) -> None:
        self.redis = node.client
        self.redis.set(KEY, encode(Entry(b"old", 0)))
        self.processes = [AskingProcess(node.url, hold_s) for _ in range(2)]
        self._count("ready", 2)
        self.redis.pexpire(KEY, 100)
        self._count("asking", 2 * CALLERS)
        wait_for(lambda: self.computations() != [], what="no computation has begun")

    def _count(self, name: str, number: int) -> None:
        wait_for(lambda: int(self.redis.get(name) or 0) == number, what=f"{name}: not {number}")

    def computations(self) -> list[tuple[int, int]]:
        """Returns the process, and the time in ms since 1970, of each computation that began."""
        lines = (str(line).split() for line in self.redis.lrange("computations", 0, -1))
        return [(int(pid), int(ms)) for pid, ms in lines]

    def answers(self) -> list[str]:
        return [str(answer) for answer in self.redis.lrange("answers", 0, -1)]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    started: list[Pair] = []
    yield started
    for pair in started:
        for process in pair.processes:
            process.kill()


def test_200_questions_at_the_moment_of_expiry_are_one_computation(node: ValkeyNode, pairs: list[Pair]) -> None:
    pair = Pair(node, hold_s=HOLD_S)
    pairs.append(pair)
    # The back end is slow: the lock would expire meanwhile if its holder did not renew it.
    ((holder, began),) = pair.computations()
    wait_for(lambda: _now_ms(node) > began + HOLD_S * 1_200, what="time does not pass")
    assert len(pair.computations()) == 1
    node.client.set("go", 1)
    assert [process.join() for process in pair.processes] == [0, 0]
    assert pair.answers() == [f"answer of {holder}"] * 2 * CALLERS
    assert len(pair.computations()) == 1
    assert node.client.exists(LOCK) == 0


def test_when_the_holder_is_killed_another_process_computes_once_after_the_time_of_the_lock(
    node: ValkeyNode, pairs: list[Pair]
) -> None:
    pair = Pair(node, hold_s=HOLD_S)
    pairs.append(pair)
    ((holder, _),) = pair.computations()
    (killed,) = [process for process in pair.processes if process.pid == holder]
    (survivor,) = [process for process in pair.processes if process.pid != holder]
    os.kill(holder, signal.SIGSTOP)  # it no longer renews the lock
    free_at = _now_ms(node) + node.client.pttl(LOCK)
    killed.kill()
    wait_for(lambda: len(pair.computations()) > 1, what="nobody takes over")
    node.client.set("go", 1)
    assert survivor.join() == 0
    assert pair.answers() == [f"answer of {survivor.pid}"] * CALLERS
    (_, (second, began)) = pair.computations()
    assert second == survivor.pid
    assert began >= free_at


def _now_ms(node: ValkeyNode) -> int:
    seconds, microseconds = node.client.time()
    return int(seconds) * 1_000 + int(microseconds) // 1_000
