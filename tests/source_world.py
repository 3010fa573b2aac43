"""A raw topic and a network in memory, for tests of what a source does between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from connectors.errors import UnavailableError
from connectors.kafka.producer import Outgoing, WrittenOffsets
from connectors.sources.events import Positioned, SkipReason, SourceEvent, SourcePost, SourceSkipped
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.keywords.selection import Selection
from streams.ingest.sources.history import OffsetHistory
from streams.ingest.sources.intake import Intake
from streams.ingest.sources.keywords import KeywordSelection
from streams.ingest.sources.metrics import IngestMetrics, InstanceMetrics
from streams.ingest.sources.pump import Pump, StorageError
from streams.ingest.sources.sent import SentIds
from streams.records import DeletionRecord, GapRecord, Post, SourcePosition

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
RAW = "posts.raw"
KEEP_ALIVE = SourceSkipped(reason=SkipReason.NOT_A_POST, detail="keep-alive")


def at(number: int) -> datetime:
    return START + timedelta(seconds=number)


def source_post(number: int, **changes: object) -> SourcePost:
    return SourcePost(**{"id": str(number), "text": f"post {number}", "created_at": at(number), **changes})  # type: ignore[arg-type]


class Network:
    """A source with numbered posts. Its cursor is the number before the next post, and it repeats the last `repeats`.

    Attributes:
        events: sent in order from the cursor on.
        script: called before each event with its index; it may raise, or wait.
    """

    name = "test"
    stable_ids = True

    def __init__(
        self,
        events: Sequence[SourceEvent | Positioned],
        *,
        repeats: int = 0,
        silence_s: float = 60.0,
        ends: bool = False,
        script: Callable[[int], object] = lambda _index: None,
    ) -> None:
        self.events = events
        self.repeats = repeats
        self.silence_s = silence_s
        self.ends = ends
        self.script = script
        self.cursors: list[str | None] = []
        self.closed = 0

    async def stream(self, cursor: str | None) -> AsyncIterator[Positioned]:
        self.cursors.append(cursor)
        for index in range(max(0, int(cursor or 0) - self.repeats), len(self.events)):
            waiting = self.script(index)
            if asyncio.iscoroutine(waiting):
                await waiting
            event = self.events[index]
            yield event if isinstance(event, Positioned) else Positioned(event, str(index + 1), at(index))
        if not self.ends:
            await asyncio.sleep(3_600)

    async def close(self) -> None:
        self.closed += 1


@dataclass
class World:
    """The raw topic, with one partition, and the stored positions of one instance.

    Attributes:
        raw: the records of the raw topic.
        deletions: the records of the deletions topic.
        positions: every position that was stored.
        gaps: every gap that was stored.
        on_deliver: called before records are written; it may raise.
        on_save: called before a position is stored; it may raise.
    """

    raw: list[Outgoing] = field(default_factory=list)
    deletions: list[DeletionRecord] = field(default_factory=list)
    positions: list[SourcePosition] = field(default_factory=list)
    gaps: list[GapRecord] = field(default_factory=list)
    on_deliver: Callable[[Sequence[Outgoing]], object] = lambda _records: None
    on_save: Callable[[SourcePosition], object] = lambda _position: None
    registry: IngestMetrics = field(default_factory=IngestMetrics)

    async def deliver(self, records: Sequence[Outgoing], /) -> WrittenOffsets:
        self.on_deliver(records)
        await asyncio.sleep(0)
        self.raw += [record for record in records if record.topic == RAW]
        self.deletions += [DeletionRecord.from_json(record.value) for record in records if record.topic != RAW]
        return {}

    @contextmanager
    def killed_before_the_position_is_stored(self) -> Iterator[None]:
        """What runs meanwhile writes posts, and must fail with the first position that it stores."""

        def kill(_: SourcePosition) -> None:
            raise UnavailableError("killed before the position was stored")

        self.on_save = kill
        with pytest.raises(StorageError):
            yield
        self.on_save = lambda _: None

    async def save(self, position: SourcePosition, gaps: Sequence[GapRecord], /) -> None:
        self.on_save(position)
        self.positions.append(SourcePosition.from_json(position.to_json()))
        self.gaps += gaps

    async def ends(self) -> Mapping[int, int]:
        return {0: len(self.raw)}

    def ids(self) -> list[str]:
        return [(record.key or b"").decode() for record in self.raw]

    def posts(self) -> list[Post]:
        return [Post.from_json(record.value) for record in self.raw]

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.registry.get_sample_value(name, {"source": "instance", **labels}) or 0.0

    def pump(
        self,
        *,
        selection: KeywordSelection | None = None,
        rate: float | None = None,
        max_chars: int = 5_000,
        authors: Authors | None = None,
    ) -> Pump:
        """Returns a pump that continues as a new process would: from the last position, and from what the topic has."""
        position = self.positions[-1] if self.positions else None
        start = position.reread["0"] if position is not None else len(self.raw)
        sent = SentIds()
        for offset, record in enumerate(self.raw[start:], start=start):
            if position is not None and offset >= position.offsets["0"]:
                sent.add_uncounted(record.key or b"")
            else:
                sent.add(record.key or b"")
        metrics = InstanceMetrics(self.registry, "instance")
        metrics.resume(position)
        intake = Intake(
            instance="instance",
            source="test",
            raw_topic=RAW,
            deletions_topic="posts.deletions",
            rules=TextRules(max_chars),
            authors=authors or Authors("plain"),
            selection=selection or Selection(lambda: Matcher([]), keep_unmatched=True),
            sent=sent,
            position=position,
            metrics=metrics,
        )
        return Pump(
            intake,
            instance="instance",
            source="test",
            raw_topic=RAW,
            producer=self,
            save=self.save,
            ends=self.ends,
            history=OffsetHistory({0: start}, 0.0, seconds=60.0),
            position=position,
            metrics=metrics,
            rate=rate,
        )


async def run(world: World, network: Network, **options: object) -> bool:
    """Run one connection until the network ends or fails."""
    return await world.pump(**options).run(network, asyncio.Event())  # type: ignore[arg-type]
