"""Postgres holds every record exactly once, although the sink is killed and Postgres is stopped repeatedly.

`make chaos` writes 100,000 records with 20 kills, two restarts of Postgres and a stop of 30 s; `make test` does less.
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
from connectors.kafka.producer import ConfirmedProducer
from connectors.local import LocalStack
from connectors.postgres import postgres_errors
from streams.connections import kafka_config
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.sink.backfill.run import Backfill
from streams.sink.history import History
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture
from tests.integration.support import TIMEOUT_S, ledger_breaks, wait_for
from tests.integration.test_sink import classified, record_of

LONG = "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ
RECORDS = 100_000 if LONG else 14_000
KILLS = 20 if LONG else 4
RESTARTS = 2 if LONG else 1
AWAY_S = 30.0 if LONG else 5.0
"""How long Postgres is stopped."""

PARTITIONS = 4
REPEATED = 0.1
"""Share of the records that are there twice, as if a worker had been killed and had written them again."""

pytestmark = pytest.mark.timeout(900)

Start = Callable[..., Role]


def feed(settings: Settings, first: int, count: int) -> int:
    """Write `count` classified posts to all partitions, and the last tenth twice. Returns the number of records."""
    posts = [classified((first + i) // PARTITIONS, (first + i) % PARTITIONS) for i in range(count)]
    again = posts[-int(count * REPEATED) :]
    producer = ConfirmedProducer(kafka_config(settings), client_id="test")
    producer.submit([record_of(settings, post) for post in [*posts, *again]]).result(120)
    producer.close()
    return len(posts) + len(again)


def rows(settings: Settings) -> int:
    """Returns the number of rows in `posts`; 0 while Postgres is stopped."""
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
    rng = random.Random(6)
    faults = ["kill"] * KILLS + ["restart"] * RESTARTS
    rng.shuffle(faults)
    faults.insert(len(faults) // 2, "away")
    part = RECORDS // (len(faults) + 1)
    sent = fed = 0
    # With many small transactions, a kill is likely to interrupt one.
    sink = start("sink", EMOSTREAM_SINK_BATCH="500", EMOSTREAM_SINK_BACKFILL_INTERVAL_S="3")
    for fault in faults:
        sent += await asyncio.to_thread(feed, settings, fed, part)
        fed += part
        before = rows(settings)
        await asyncio.to_thread(wait_for, lambda before=before: rows(settings) > before, what="the sink writes nothing")
        await asyncio.sleep(rng.uniform(0, 0.3))
        if fault == "kill":
            sink.kill()
            sink = start("sink", EMOSTREAM_SINK_BATCH="500", EMOSTREAM_SINK_BACKFILL_INTERVAL_S="3")
        else:
            sink.check()
            await asyncio.to_thread(own_stack.stop, "postgres")
            await asyncio.sleep(AWAY_S if fault == "away" else 0)
            await asyncio.to_thread(own_stack.start, "postgres")
    sent += await asyncio.to_thread(feed, settings, fed, part)
    fed += part

    await asyncio.to_thread(wait_for, lambda: rows(settings) >= fed, what="the sink does not finish")
    deadline = time.monotonic() + TIMEOUT_S
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:

        def one(statement: str) -> tuple[object, ...]:
            found = connection.execute(statement).fetchone()  # type: ignore[call-overload]
            assert found is not None
            return tuple(found)

        topic = settings.topic_classified
        # When the last row is written, the sink may still have to read the repeated records at the end.
        while one(f"SELECT sum(next_offset) FROM sink_offsets WHERE topic = '{topic}'") != (sent,):
            assert time.monotonic() < deadline, "the sink does not read to the end"
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
