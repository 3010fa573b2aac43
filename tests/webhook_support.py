"""Sends requests to the source of a webhook, in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from connectors.kafka.producer import Outgoing, WrittenOffsets
from connectors.sources.shapes.mapping import FieldMap
from streams.ingest.shaped.documents import DocumentReader
from streams.ingest.shaped.webhook import Webhook, WebhookOptions
from streams.ingest.sources.pump import StorageError
from tests.source_world import World

SECRET = b"0123456789abcdef"
READER = DocumentReader("hook", FieldMap.parse({"text": "body"}))


@dataclass
class GatedWorld(World):
    """A raw topic that confirms nothing while the gate is closed."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    delivering: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, records: Sequence[Outgoing], /) -> WrittenOffsets:
        self.delivering.set()
        await self.gate.wait()
        return await super().deliver(records)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def hook(**options: object) -> Webhook:
    return Webhook(WebhookOptions(**{"host": "127.0.0.1", "port": 0, "reader": READER, **options}))  # type: ignore[arg-type]


@asynccontextmanager
async def pumping(webhook: Webhook, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Read the next source of a webhook, as a process does, until the end of the block."""
    source, stop = webhook(), asyncio.Event()
    pump = asyncio.create_task(world.pump().run(source, stop))
    try:
        await until(lambda: webhook.source is source or pump.done())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{webhook.port}", trust_env=False) as client:
            yield client
    finally:
        stop.set()
        with suppress(StorageError):
            await pump
        await source.close()


@asynccontextmanager
async def receiving(world: World, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    webhook = hook(**options)
    try:
        async with pumping(webhook, world) as client:
            yield client
    finally:
        await webhook.close()


def texts(world: World) -> list[str]:
    return [post.text for post in world.posts()]
