"""Batches that cannot be read: they are recorded, exactly their records are skipped, and everything goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config
from streams.ops.demo.processes import Role, clean_environment
from streams.records import DeadPost, DeadReason
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.poison import MEGABYTE, write_batch, write_bomb
from tests.integration.support import (
    balanced,
    counter,
    failures,
    free_port,
    good_posts,
    offsets,
    produce,
    records,
    wait_for,
)
from tests.integration.test_sink import feed, query, rows

Start = Callable[..., Role]


def dead(settings: Settings) -> list[DeadPost]:
    return [DeadPost.from_json(value) for _, _, value in records(settings, settings.topic_dead)]


def ranges(letters: list[DeadPost]) -> set[tuple[str, str, int, int, int | None]]:
    return {(one.reason, one.origin.topic, one.origin.partition, one.origin.offset, one.last_offset) for one in letters}


async def test_a_batch_that_cannot_be_read_is_dead_lettered_and_the_pipeline_goes_on(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start
) -> None:
    """Batches before, between and after are classified; a worker that is killed and starts again loses nothing."""
    produce(settings, good_posts(20), partition=0)
    write_bomb(settings, settings.topic_raw)
    produce(settings, good_posts(20), partition=0)
    port = free_port()
    worker, sink = start("worker", EMOSTREAM_WEB_PORT=str(port)), start("sink")
    wait_for(lambda: offsets(settings, settings.topic_classified) == 40, what="the posts around it are classified")
    worker.check()
    assert ranges(dead(settings)) == {(DeadReason.UNREADABLE_BATCH, settings.topic_raw, 0, 20, 147)}
    assert counter(port, f'emostream_unreadable_offsets_total{{topic="{settings.topic_raw}"}}') == 128

    # At the end of the partition: each start reads it again, until a classified post follows.
    write_bomb(settings, settings.topic_raw)
    wait_for(lambda: len(ranges(dead(settings))) == 2, what="the second batch is not recorded")
    worker.kill()
    worker = start("worker")
    produce(settings, good_posts(20), partition=0)
    wait_for(lambda: offsets(settings, settings.topic_classified) == 60, what="the worker does not start again")

    checks = await balanced(settings, store, [worker, sink])
    assert failures(checks) == []
    assert f"{settings.topic_raw}[0]: offsets 20 to 147 cannot be read" in checks[0].note
    assert ranges(dead(settings)) == {
        (DeadReason.UNREADABLE_BATCH, settings.topic_raw, 0, 20, 147),
        (DeadReason.UNREADABLE_BATCH, settings.topic_raw, 0, 168, 295),
    }


async def test_a_batch_of_classified_posts_that_cannot_be_read_is_a_gap_in_postgres(
    settings: Settings, producer: ConfirmedProducer, start: Start
) -> None:
    """The last records of a partition, and then in the middle of it."""
    feed(producer, settings, 0, 400)
    write_bomb(settings, settings.topic_classified)
    port = free_port()
    worker, sink = start("worker"), start("sink", EMOSTREAM_SINK_WEB_PORT=str(port))
    topic = settings.topic_classified
    stored = f"SELECT next_offset FROM sink_offsets WHERE topic = '{topic}' AND partition = 0"
    wait_for(lambda: query(settings, stored) == [(110 + 128,)], what="the sink does not pass the batch")
    feed(producer, settings, 1_000, 400)
    wait_for(lambda: rows(settings) == 800, what="the sink does not go on")
    sink.check()

    gaps = "SELECT topic, partition, first_offset, next_offset, reason, records FROM sink_gaps"
    assert query(settings, gaps) == [(topic, 0, 110, 238, "unreadable", None)]
    wait_for(lambda: ranges(dead(settings)) == {(DeadReason.UNREADABLE_BATCH, topic, 0, 110, 237)}, what="no letter")
    assert counter(port, "emostream_unreadable_offsets_total") == 128
    worker.check()


def test_tail_audit_and_the_readers_pass_over_it(env: dict[str, str], settings: Settings) -> None:
    produce(settings, good_posts(3), partition=0)
    write_bomb(settings, settings.topic_raw)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streams", *arguments]
        return subprocess.run(command, env=clean_environment(env), capture_output=True, text=True, check=False)

    for options in (["--from-beginning"], ["-n", "3"]):
        shown = run("tail", "raw", "--no-follow", "--json", *options)
        assert (shown.returncode, len(shown.stdout.splitlines())) == (0, 3), shown.stderr
        assert f"{settings.topic_raw}[0]: offsets 3 to 130 cannot be read" in " ".join(shown.stderr.split())
    audit = run("audit", "--json")
    first = json.loads(audit.stdout)[0]
    assert (first["expected"], first["found"]) == (131, 0)
    assert "offsets 3 to 130 cannot be read" in first["note"]

    config = kafka_config(settings)
    scan = TopicScan(config, settings.topic_raw, group="test")
    assert len(list(scan.messages())) == 3
    assert [(one.partition, one.first, one.end) for one in scan.unreadable] == [(0, 3, 131)]
    scan.close()
    reader = OffsetReader(config, group="test")
    topic = settings.topic_raw
    assert [last.offset() for last in reader.last_messages(topic, [0]).values()] == [2]
    assert reader.message_at(topic, 0, 50) is None
    assert len(list(reader.between(topic, 0, 0, 131))) == 3
    produce(settings, good_posts(1), partition=0)
    after = reader.message_at(topic, 0, 50)
    assert after is not None
    assert after.offset() == 131
    assert [one.offset() for one in reader.between(topic, 0, 2, 132)] == [2, 131]
    reader.close()


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
def test_the_raw_topic_refuses_a_batch_that_is_too_large_when_it_is_decompressed(
    settings: Settings, codec: str
) -> None:
    """The broker stores it in snappy, in which it exceeds the limit of the topic."""
    errors = write_batch(settings, settings.topic_raw, codec, [b" " * MEGABYTE] * 64)
    assert set(errors) == {"MSG_SIZE_TOO_LARGE"}
    assert offsets(settings, settings.topic_raw) == 0
    produce(settings, good_posts(4))
    assert offsets(settings, settings.topic_raw) == 4
