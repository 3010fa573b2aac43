"""Postgres holds every record exactly once, however often the sink is killed and Postgres goes away.

`make chaos` writes 100,000 records under 20 kills, two restarts of Postgres and a stop of 30 s; in `make test` it is
less of each.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable

import psycopg
import pytest

from connectors.errors import ConnectorError
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.local import LocalStack
from connectors.postgres import postgres_errors
from streams.connections import kafka_config
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.sink.backfill.run import Backfill
from streams.sink.history import History
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture
from tests.integration.support import PATIENCE_S, ledger_breaks, wait_for
from tests.integration.test_sink import classified

LONG = "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ
RECORDS = 100_000 if LONG else 14_000
KILLS = 20 if LONG else 4
RESTARTS = 2 if LONG else 1
AWAY_S = 30.0 if LONG else 5.0
PARTITIONS = 4
REPEATED = 0.1
"""Of the records, delivered twice by a worker that was killed."""

pytestmark = pytest.mark.timeout(900)

Start = Callable[..., Role]


def feed(settings: Settings, first: int, count: int) -> int:
    """Records over all partitions, in order, a tenth of them twice; returns how many were sent."""
    posts = [classified((first + i) // PARTITIONS, (first + i) % PARTITIONS) for i in range(count)]
    again = posts[-int(count * REPEATED) :]
    producer = ConfirmedProducer(kafka_config(settings), client_id="test")
    producer.submit(
        [
            Outgoing(settings.topic_classified, post.to_json(), partition=post.origin.partition)
            for post in [*posts, *again]
        ]
    ).result(60)
    producer.close()
    return len(posts) + len(again)


def rows(settings: Settings) -> int:
    """Rows of `posts`; 0 while Postgres is away."""
    try:
        with (
            postgres_errors("counting"),
            psycopg.connect(settings.postgres_dsn.get_secret_value(), connect_timeout=2) as connection,
        ):
            found = connection.execute("SELECT count(*) FROM posts").fetchone()
    except ConnectorError:
        return 0
    return int(found[0]) if found else 0


async def test_every_record_is_written_once(own_stack: LocalStack, settings: Settings, start: Start) -> None:
    chance = random.Random(6)
    strokes = ["kill"] * KILLS + ["restart"] * RESTARTS
    chance.shuffle(strokes)
    strokes.insert(len(strokes) // 2, "away")
    part = RECORDS // (len(strokes) + 1)
    sent = fed = 0
    # Small transactions, so that a kill is likely to meet one.
    sink = start("sink", EMOSTREAM_SINK_BATCH="500", EMOSTREAM_SINK_BACKFILL_INTERVAL_S="3")
    for stroke in strokes:
        sent += await asyncio.to_thread(feed, settings, fed, part)
        fed += part
        before = rows(settings)
        await asyncio.to_thread(wait_for, lambda before=before: rows(settings) > before, what="the sink writes nothing")
        await asyncio.sleep(chance.uniform(0, 0.3))
        if stroke == "kill":
            sink.kill()
            sink = start("sink", EMOSTREAM_SINK_BATCH="500", EMOSTREAM_SINK_BACKFILL_INTERVAL_S="3")
        else:
            sink.check()
            await asyncio.to_thread(own_stack.stop, "postgres")
            await asyncio.sleep(AWAY_S if stroke == "away" else 0)
            await asyncio.to_thread(own_stack.start, "postgres")
    sent += await asyncio.to_thread(feed, settings, fed, part)
    fed += part

    await asyncio.to_thread(wait_for, lambda: rows(settings) >= fed, what="the sink does not finish")
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:

        def one(statement: str) -> tuple[object, ...]:
            found = connection.execute(statement).fetchone()  # type: ignore[call-overload]
            assert found is not None
            return tuple(found)

        topic = settings.topic_classified
        # The repeated ones at the end are still to be read when the last row is in.
        while one(f"SELECT sum(next_offset) FROM sink_offsets WHERE topic = '{topic}'") != (sent,):
            assert time.monotonic() < deadline, "the sink does not come to the end"
            sink.check()
            await asyncio.sleep(0.2)
        assert one("SELECT count(*), count(DISTINCT (origin_partition, origin_offset)) FROM posts") == (fed, fed)
        assert one(f"SELECT sum(records), sum(rows) FROM sink_ledger WHERE topic = '{topic}'") == (sent, fed)
        assert one("SELECT count(*) FROM sink_gaps") == (0,)
        assert one(ledger_breaks(topic)) == (0,)
    history = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    findings = await asyncio.to_thread(Backfill(settings, history).run, fill=False)
    history.close()
    assert (findings.holes, findings.rows) == ([], fed)
    log = "".join(path.read_text() for path in sink.log.parent.glob("sink-*.log"))
    assert "Traceback" not in log
