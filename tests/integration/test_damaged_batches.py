"""A batch whose bytes have changed on the broker's disk: exactly its records are skipped."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from connectors.local import LocalStack
from streams.ops.demo.processes import Role
from streams.records import DeadPost, DeadReason
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture
from tests.integration.poison import write_batch
from tests.integration.support import balanced, failures, good_posts, offsets, records, wait_for

HEADER_BYTES = 61


def damage(log: Path, batch: int) -> None:
    """Overwrite records of one batch in a segment file, so that Snappy cannot read it. Kafka hands it out as it is."""
    with log.open("r+b") as segment:
        at = 0
        for _ in range(batch):
            segment.seek(at + 8)
            (length,) = struct.unpack(">i", segment.read(4))
            at += 12 + length
        segment.seek(at + HEADER_BYTES)
        segment.write(b"\x01")  # the length of the records, at most 128


async def test_the_records_of_a_damaged_batch_are_skipped_and_no_others(
    settings: Settings, store: WindowStore, own_stack: LocalStack, start: Callable[..., Role]
) -> None:
    for _ in range(3):
        assert write_batch(settings, settings.topic_raw, "snappy", good_posts(20)) == []
    damage(own_stack.data_dir / "kafka" / "data" / f"{settings.topic_raw}-0" / f"{0:020}.log", 1)

    worker, sink = start("worker"), start("sink")
    wait_for(lambda: offsets(settings, settings.topic_classified) == 40, what="the other posts are classified")
    checks = await balanced(settings, store, [worker, sink])

    assert failures(checks) == []
    letters = [DeadPost.from_json(value) for _, _, value in records(settings, settings.topic_dead)]
    assert {(one.reason, one.origin.offset, one.last_offset) for one in letters} == {
        (DeadReason.UNREADABLE_BATCH, 20, 39)
    }
    assert "Decompression (codec 0x2)" in letters[0].error
