"""Waits between two rounds of the audit, with so little load that the sink can write meanwhile.

A round reads all windows in Redis and Postgres, so it keeps one processor busy. That closes the gate of a sink on the
same machine, and the gate opens again only when the load has been low for a while. So the audit waits several times as
long as the last round took, and then until nothing is on its way any more. What is on its way is read from offsets,
which costs little.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from connectors.kafka.offsets import OffsetReader
from streams.gate.rule import MEAN_S
from streams.records import OriginOnly, RecordError
from streams.settings import Settings
from streams.sink.backlog import BacklogReader
from streams.sink.history import History
from streams.sink.status import ask, default_urls
from streams.windows.store import WindowStore
from streams.wording import counted

POLL_S = 1.0
"""Seconds between two looks at what is on its way. One look takes some milliseconds."""

SHORT_ROUND_S = 0.2
"""A round that takes at most so many seconds does not close the gate of the sink."""

PAUSES_PER_ROUND = 4
"""How many times as long as the last round a pause is."""

LONGEST_WAIT_S = 30.0
"""Seconds after which the audit is repeated even if offsets say that something is on its way."""

OnWait = Callable[[str], None]
"""Called with what the audit waits for, in words."""


def pause_s(round_s: float, calm_s: float) -> float:
    """Returns how many seconds to wait after a round. Pure.

    Args:
        round_s: How long the round took, in seconds.
        calm_s: How long the load must be low before the sink writes (`EMOSTREAM_SINK_CALM_S`).
    """
    gate_s = 0.0 if round_s <= SHORT_ROUND_S else MEAN_S + calm_s
    return max(POLL_S / 2, gate_s + PAUSES_PER_ROUND * round_s)


class Progress:
    """Reads what is on its way through the pipeline: from offsets, and the status of the sink on this machine."""

    def __init__(self, settings: Settings, store: WindowStore, offsets: OffsetReader, history: History) -> None:
        self._settings = settings
        self._store = store
        self._offsets = offsets
        self._history = history
        self._backlogs = {
            topic: BacklogReader(offsets, topic) for topic in (settings.topic_classified, settings.topic_windows)
        }

    async def on_their_way(self) -> list[str]:
        """Returns what is on its way, in words; nothing if all has arrived.

        Raises:
            ConnectorError: Kafka, Redis or Postgres does not answer, or rejects the call.
        """
        settings, partitions = self._settings, range(self._settings.partitions)
        unclassified = self._unclassified(partitions)
        shards = [await self._store.positions(shard, partitions) for shard in range(self._store.shards)]
        uncounted = 0
        for partition, (low, end) in self._offsets.all_bounds(settings.topic_classified, partitions).items():
            uncounted += end - max(low, min(positions[partition].offset for positions in shards))
        dirty = sum([await self._store.dirty_count(shard) for shard in range(self._store.shards)])
        unwritten = 0
        for topic, backlog in self._backlogs.items():
            written = self._history.offsets(topic, partitions)
            next_offsets = {partition: written.get(partition, 0) for partition in partitions}
            unwritten += sum(one.records for one in backlog.read(next_offsets))
        parts = {
            "to classify": (unclassified, "post"),
            "to count": (uncounted, "post"),
            "to publish": (dirty, "window"),
            "to write to Postgres": (unwritten, "record"),
        }
        found = [f"{counted(number, noun)} {what}" for what, (number, noun) in parts.items() if number > 0]
        if unwritten > 0 and (why := why_sink_waits(settings)):
            found.append(why)
        return found

    def _unclassified(self, partitions: Sequence[int]) -> int:
        """Returns how many offsets of the raw topic wait to be classified."""
        raw = self._settings.topic_raw
        committed = self._offsets.committed(raw, partitions)
        bounds = self._offsets.all_bounds(raw, partitions)
        reached = {partition: max(low, committed.get(partition, 0)) for partition, (low, _) in bounds.items()}
        behind = [partition for partition, (_, end) in bounds.items() if reached[partition] < end]
        # The worker may have stopped before it committed.
        for partition, last in self._offsets.last_messages(self._settings.topic_classified, behind).items():
            with suppress(RecordError):
                reached[partition] = max(reached[partition], OriginOnly.from_json(last.value()).origin.offset + 1)
        return sum(max(0, end - reached[partition]) for partition, (_, end) in bounds.items())


def why_sink_waits(settings: Settings) -> str:
    """Returns why the sink on this machine does not write, in words; empty if it does or does not answer."""
    for url in default_urls(settings):
        report = ask(url).report
        if report is not None and not report.gate.is_open:
            return f"the sink waits: the machine is busy ({report.gate.why})"
    return ""


async def wait_for_progress(
    progress: Progress, *, pause: float, deadline: float, on_wait: OnWait, clock: Callable[[], float] = time.monotonic
) -> None:
    """Wait until a round is worth repeating: the pause is over, and nothing is on its way any more.

    It returns at the deadline at the latest. While something is on its way, it also returns `LONGEST_WAIT_S` after the
    pause, because offsets say little about a part that does not run.

    Args:
        progress: What is on its way.
        pause: Seconds to wait at least.
        deadline: When to return, on `clock`.
        on_wait: Called with what is on its way.
        clock: Returns the time in seconds.

    Raises:
        ConnectorError: Kafka, Redis or Postgres does not answer, or rejects the call.
    """
    pause_end = clock() + pause
    while (now := clock()) < deadline:
        found = await progress.on_their_way()
        on_wait(", ".join(found) or "all has arrived; checking again soon")
        if now >= pause_end and (not found or now >= pause_end + LONGEST_WAIT_S):
            return
        until = pause_end if now < pause_end else deadline
        await asyncio.sleep(min(POLL_S, until - now, deadline - now))
