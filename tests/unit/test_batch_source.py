"""A source hands out only current batches, keeps few in memory, and ends a revocation when no batch is in flight."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest

from connectors.errors import RejectedError
from connectors.kafka import source as source_module
from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from tests.batch_harness import FakeConsumer, Harness, batch, harness_fixture, in_thread  # noqa: F401 - a fixture


async def test_a_source_is_behind_while_its_channel_is_full() -> None:
    source = Harness().source
    for _ in range(2):
        assert not source.behind
        await source.channel.put(batch())
    assert source.behind
    await source.channel.queue.get()
    assert not source.behind


async def test_a_revocation_waits_for_the_batch_in_flight(harness: Harness) -> None:
    with harness.source.in_flight(batch()) as current:
        assert current
        revoking = in_thread(harness.source._await_idle)
        revoking.join(0.05)
        assert revoking.is_alive()
    revoking.join(60)
    assert not revoking.is_alive()


async def test_a_revocation_does_not_outlast_the_session() -> None:
    harness = Harness(session_timeout_ms=50)
    began = time.monotonic()
    with harness.source.in_flight(batch()):
        revoking = in_thread(harness.source._await_idle)
        revoking.join(60)
        assert not revoking.is_alive()
    assert time.monotonic() - began >= 0.02  # it did wait
    assert KafkaConfig("h:1", session_timeout_ms=50).revoke_deadline_s < 0.05


async def test_a_revocation_does_not_wait_for_a_stale_batch(harness: Harness) -> None:
    with harness.source.in_flight(batch(0)) as current:
        assert not current
        harness.source._await_idle()


async def test_a_source_that_has_not_started_has_no_current_batch(harness: Harness) -> None:
    harness.source._consumer = None
    with harness.source.in_flight(batch()) as current:
        assert not current


async def test_a_channel_and_its_clones_have_one_queue(harness: Harness) -> None:
    channel = harness.source.channel
    batches = [batch(), batch()]
    for one in batches:
        await channel.put(one)
    # The channel is full, so that polling stops and memory does not grow.
    third = asyncio.ensure_future(channel.put(batch()))
    await asyncio.sleep(0.01)
    assert not third.done()
    # Faust clones a channel for every agent that reads it.
    clone = channel.clone()
    assert [await clone.queue.get(), await channel.queue.get()] == batches
    await third


async def test_a_rebalance_of_fausts_own_consumer_keeps_the_batches(harness: Harness) -> None:
    channel = harness.source.channel
    waiting = batch()
    await channel.put(waiting)
    harness.source.app.flow_control.suspend()
    harness.source.app.flow_control.clear()
    async with asyncio.timeout(60):
        assert await channel.queue.get() is waiting


class RestlessConsumer(FakeConsumer):
    """Each poll returns a batch of a new epoch, as if members joined and left all the time."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.made: list[weakref.ref[Any]] = []
        self.alive = 0
        self.enough = threading.Event()
        self._polls = polls

    def poll(self, most: int, timeout_s: float) -> Batch:
        self.epoch += 1
        found = batch(self.epoch)
        self.made.append(weakref.ref(found.messages[0]))
        if len(self.made) == self._polls:
            gc.collect()
            self.alive = sum(one() is not None for one in self.made)
            self.enough.set()
        return found

    def pause(self) -> None:
        """Does nothing: the poll with the new assignment has already returned a batch."""

    def resume(self) -> None:
        """Does nothing."""


async def test_stale_batches_are_not_kept_in_memory(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "PAUSE_AFTER_S", 0)
    consumer = RestlessConsumer(polls=200)
    # No agent reads the channel: it holds two batches, and a third waits for room.
    feeding = harness.feed(consumer)
    assert await asyncio.to_thread(consumer.enough.wait, 60)
    harness.source._stopping.set()
    await feeding
    assert consumer.alive <= 5


class SteadyConsumer(FakeConsumer):
    """Each poll returns one message."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 0
        self.enough = threading.Event()

    def poll(self, most: int, timeout_s: float) -> Batch:
        time.sleep(0.002)
        self.polls += 1
        if self.polls == 50:
            self.enough.set()
        return batch()


async def test_a_stage_that_becomes_free_gets_all_messages_in_one_batch() -> None:
    harness = Harness(batch_max=1_000, batch_wait_s=0.02)
    source, consumer = harness.source, SteadyConsumer()
    with source.busy():
        feeding = harness.feed(consumer)
        assert await asyncio.to_thread(consumer.enough.wait, 60)
        assert source.channel.queue.empty()
    async with asyncio.timeout(60):
        found = await source.channel.queue.get()
    assert len(found) >= 49  # the fiftieth poll may not have returned yet
    source._stopping.set()
    await feeding


async def test_a_stage_that_failed_is_not_busy(harness: Harness) -> None:
    def fail() -> None:
        assert not harness.source._stage_waiting
        raise RejectedError("too large")

    with pytest.raises(RejectedError), harness.source.busy():
        fail()
    assert harness.source._stage_waiting
