"""A rebuild that is killed or stopped leaves the windows as they were, and workers go on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from streams.ops.demo.processes import clean_environment
from streams.records import to_ms
from streams.settings import Settings
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey
from tests.integration.rebuild_support import (
    Start,
    Tables,
    caught_up,
    check_topic,
    counted_by_hand,
    differences,
    emostream,
    env,
    posts,
    rebuilt,
    redis,
    tables,
)
from tests.integration.support import TIMEOUT_S, produce, wait_for

__all__ = ["env", "redis", "tables"]  # fixtures


def started(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """A Python process with pipes."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=clean_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


KILLED_WHILE_SEALED = """
import asyncio, sys, time
from streams.settings import load_settings
from streams.windows.connect import open_store
from streams.windows.rebuild.run import rebuild

def progress(step, done, total):
    if step == "sealed":
        print("sealed", flush=True)
        time.sleep(600)

async def run():
    settings = load_settings()
    async with open_store(settings) as store:
        await rebuild(settings, store, progress=progress, lease_ms=600_000, seal_ms=600_000)

asyncio.run(run())
"""


async def test_workers_go_on_when_a_rebuild_is_killed_with_the_tables_sealed(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start, tables: Tables
) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    worker, sink = start("worker"), start("sink")
    produce(settings, posts(300, now - timedelta(hours=1)))
    await caught_up(settings, store, [worker, sink])
    with started(env, "-c", KILLED_WHILE_SEALED) as dying:
        assert dying.stdout is not None
        assert await asyncio.to_thread(dying.stdout.readline) == "sealed\n"
        dying.send_signal(signal.SIGKILL)
        assert dying.wait() == -signal.SIGKILL
    assert tables.sealed()
    produce(settings, posts(300, now - timedelta(hours=1), text="buy"))
    switched = "the window tables are being switched to rebuilt ones"
    wait_for(lambda: switched in worker.log.read_text(), what="the worker does not meet the seal")
    refused = await asyncio.to_thread(emostream, env, "windows", "rebuild")
    assert refused.returncode == 1
    assert "another rebuild of the window tables is running; if it was killed, try again in" in refused.stderr
    tables.let_the_seal_run_out()

    await caught_up(settings, store, [worker, sink])

    assert tables.generation == 0
    assert differences(await store.read(), counted_by_hand(settings).windows) == []
    assert tables.left_over() != [], "the tables of the rebuild that was killed"
    tables.let_the_lock_run_out()
    tables.falsify(WindowKey("*", 3_600, to_ms(now - timedelta(hours=1))))
    summary = await asyncio.to_thread(rebuilt, env)
    assert (summary["generation"], summary["changed"]) == (2, 1)
    assert tables.left_over() == []
    await caught_up(settings, store, [worker, sink])
    assert differences(await store.read(), counted_by_hand(settings).windows) == []
    await check_topic(settings, store)


ENDLESS = """
import asyncio
from streams.cli import main
from streams.windows.rebuild.counting import Recount

count_records = Recount.count_records

async def count_without_an_end(self, *arguments):
    await count_records(self, *arguments)
    print("counting", flush=True)
    while True:
        await self._on_page()
        await asyncio.sleep(0.01)

Recount.count_records = count_without_an_end
main(["windows", "rebuild"])
"""
"""The command, which after each record that it has counted still has one before it."""


async def test_ctrl_c_leaves_nothing_behind(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start, tables: Tables
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, posts(400, datetime.now(UTC) - timedelta(hours=2)))
    await caught_up(settings, store, [worker, sink])
    before = set(tables.client.scan_iter(f"{settings.redis_prefix}:*"))
    with started(env, "-c", ENDLESS) as running:
        wait_for(lambda: tables.left_over() != [], what="it does not begin")
        assert running.stdout is not None
        assert await asyncio.to_thread(running.stdout.readline) == "counting\n"
        running.send_signal(signal.SIGINT)
        _, told = await asyncio.to_thread(running.communicate, timeout=TIMEOUT_S)
        assert (running.returncode, told) == (130, "stopped; the windows are as they were\n")
    assert set(tables.client.scan_iter(f"{settings.redis_prefix}:*")) == before
    meta = {name for name in tables.client.hkeys(f"{settings.redis_prefix}:meta") if not name.startswith("topic:")}
    assert meta == {"shards", "partitions", "sizes", "generations"}
    await caught_up(settings, store, [worker, sink])
