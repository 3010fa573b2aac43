"""Which posts a rebuild reads from Postgres and which from Kafka; and the leases that keep two rebuilds apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from msgspec.structs import replace

from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.connections import kafka_config
from streams.errors import RebuildRefusedError
from streams.records import ClassifiedPost, ModelRef, Origin, Timestamp, to_ms
from streams.settings import Settings
from streams.sink.history import History
from streams.sink.ledger import Span
from streams.sink.targets import posts_of
from streams.windows.rebuild.editor import TableEditor
from streams.windows.rebuild.leases import Leases
from streams.windows.rebuild.posts import ALL_ORIGINS, PartitionSurvey, PostReader
from streams.windows.recent import Horizons, RecentPosts
from streams.windows.store import WindowStore
from tests.helpers import row_of
from tests.integration.redis_cluster import ClusterNode
from tests.integration.test_positions import delete_before

NOON = Timestamp(2026, 3, 1, 12, tzinfo=UTC)
YEARS_MS = 10 * 365 * 86_400_000
FAR = Horizons(YEARS_MS, YEARS_MS, None)
"""Horizons that reach from the times of the test to the present, when the broker appends the records."""


def delivered(settings: Settings, origin: int, at: float, label: str = "joy") -> ClassifiedPost:
    """Returns a post that was classified `at` seconds after noon."""
    return ClassifiedPost(
        id=f"id-{origin % 8}",
        source="test",
        keywords=("tea",),
        created_at=NOON + timedelta(seconds=origin, milliseconds=5),
        label=label,
        confidence=0.123456789,
        scores={label: 0.123456789},
        model=ModelRef(name="m", version="1.0.0"),
        origin=Origin(topic=settings.topic_raw, partition=0, offset=origin),
        classified_at=NOON + timedelta(seconds=at),
    )


@pytest.fixture
def log(settings: Settings) -> list[ClassifiedPost]:
    """Origins 0 to 9, then 5 to 12: after a crash, another model classified some posts again."""
    first = [delivered(settings, origin, origin) for origin in range(10)]
    again = [delivered(settings, origin, origin + 60, "fear") for origin in range(5, 13)]
    write_classified(settings, first + again)
    return first + again


def write_classified(settings: Settings, posts: list[ClassifiedPost]) -> None:
    """Write classified posts to partition 0."""
    producer = ConfirmedProducer(kafka_config(settings), client_id="test")
    records = [Outgoing(settings.topic_classified, post.to_json(), post.id.encode(), 0) for post in posts]
    producer.submit(records).result(120)
    assert producer.close() == 0


@pytest.fixture
def reader(settings: Settings) -> Iterator[PostReader]:
    found = PostReader(settings, OffsetReader(kafka_config(settings), group="test"))
    yield found
    found.close()


def write_rows(settings: Settings, posts: list[ClassifiedPost]) -> None:
    """Write rows as the sink does with the first records of a partition."""
    sink = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    sink.start_offsets(settings.topic_classified, {0: (0, len(posts))})
    span = Span(0, 0, len(posts), len(posts))
    sink.write(settings.topic_classified, posts_of(settings.topic_raw), [*map(row_of, posts)], [span])
    sink.close()


def everything(
    reader: PostReader, survey: PartitionSurvey, end: int, recent: RecentPosts | None = None
) -> list[tuple[int, str, bool]]:
    """Returns origin, label and whether it is a duplicate, for each post along the partition that is no repetition."""
    found, fence = [], -1
    for page in [*reader.rows(survey, recent, 3), *reader.records(0, survey.low, end, recent, 4)]:
        for _, post, duplicate in page.entries:
            if post.origin.offset > fence:
                fence = post.origin.offset
                found.append((fence, post.label, duplicate))
    return found


def test_every_post_comes_once_as_it_was_first_delivered(
    settings: Settings, log: list[ClassifiedPost], reader: PostReader
) -> None:
    wanted = [(origin, "joy" if origin < 10 else "fear", False) for origin in range(13)]
    assert reader.survey(0) == PartitionSurvey(0, 0, 0, 0, 0, to_ms(log[0].created_at)), "Kafka has all posts"
    write_rows(settings, log)
    for low, rows in ((3, 3), (10, 10), (12, 10), (15, 10), (16, 11)):
        delete_before(settings, settings.topic_classified, 0, low)
        survey = reader.survey(0)
        assert (survey.low, survey.rows, survey.complete_from) == (low, rows, 0)
        assert everything(reader, survey, len(log)) == wanted
    delete_before(settings, settings.topic_classified, 0, len(log))
    survey = reader.survey(0)
    assert (survey.low, survey.rows_before, survey.rows) == (len(log), ALL_ORIGINS, 13)
    assert (survey.complete_from, survey.reached_ms) == (0, to_ms(log[-1].created_at))
    assert everything(reader, survey, len(log)) == wanted


def test_a_record_of_another_partition_is_left_out(
    settings: Settings, log: list[ClassifiedPost], reader: PostReader
) -> None:
    foreign = replace(log[0], id="new", origin=Origin(settings.topic_raw, 1, 99))
    write_classified(settings, [foreign])
    delete_before(settings, settings.topic_classified, 0, len(log) - 1)
    survey = reader.survey(0)
    assert everything(reader, survey, len(log) + 1) == [(12, "fear", False)]
    delete_before(settings, settings.topic_classified, 0, len(log))
    survey = reader.survey(0)
    assert survey.rows_before == ALL_ORIGINS, "Kafka holds no post of the partition"
    new = replace(delivered(settings, 14, 91), id=foreign.id)
    write_classified(settings, [delivered(settings, 13, 90), foreign, new])
    found = everything(reader, reader.survey(0), len(log) + 4, FAR.begin())
    assert found == [(13, "joy", False), (14, "joy", False)], "the post with the same id is no duplicate"


def test_a_row_counts_as_its_record_does(settings: Settings, log: list[ClassifiedPost], reader: PostReader) -> None:
    write_rows(settings, log)
    page, last = reader.records(0, 0, 1, None, 5)
    assert (page.end, page.read, last) == (1, 1, ([], 1, 0))
    delete_before(settings, settings.topic_classified, 0, 3)
    (rows,) = reader.rows(reader.survey(0), None, 5)
    assert rows.entries[0].post == page.entries[0].post
    assert {entry.offset for entry in rows.entries} == {3}


def test_duplicates_are_found_across_postgres_and_kafka(
    settings: Settings, log: list[ClassifiedPost], reader: PostReader
) -> None:
    """Origins from 8 on repeat the ids of the first posts, which only Postgres holds."""
    write_rows(settings, log)
    delete_before(settings, settings.topic_classified, 0, 5)
    found = everything(reader, reader.survey(0), len(log), FAR.begin())
    assert [origin for origin, _, duplicate in found if duplicate] == [8, 9, 10, 11, 12]


def test_the_time_from_which_every_post_is_there(
    settings: Settings, log: list[ClassifiedPost], reader: PostReader
) -> None:
    ahead_ms = int(settings.max_future_s * 1_000)
    delete_before(settings, settings.topic_classified, 0, 4)
    appended = reader.survey(0).complete_from
    assert appended > to_ms(datetime.now(UTC)) - 120_000 + ahead_ms, "only Kafka counts if there is no sink"

    write_rows(settings, log[:3])
    assert reader.survey(0).complete_from == appended, "the sink has not written enough"
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("UPDATE sink_offsets SET next_offset = 18")
        assert reader.survey(0).complete_from == 0
        connection.execute("DELETE FROM posts WHERE origin_offset = 0")
        assert reader.survey(0).complete_from == to_ms(log[1].classified_at) + ahead_ms, "rows were removed"
        connection.execute(
            "INSERT INTO sink_gaps (topic, partition, first_offset, next_offset, found_at) VALUES (%s, 0, 2, 3, %s)",
            (settings.topic_classified, NOON + timedelta(hours=1)),
        )
        assert reader.survey(0).complete_from == to_ms(NOON + timedelta(hours=1)) + ahead_ms
        connection.execute("DELETE FROM posts")
        assert reader.survey(0).complete_from == appended


@pytest.fixture(params=["one server", "cluster"])
def env(env: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "one server" or "leases" not in request.node.name:
        return env
    nodes: list[ClusterNode] = request.getfixturevalue("redis_cluster")
    return {**env, "EMOSTREAM_REDIS_URL": f"redis://127.0.0.1:{nodes[0].port}", "EMOSTREAM_REDIS_CLUSTER": "true"}


async def test_leases_keep_two_rebuilds_apart(store: WindowStore) -> None:
    tables = TableEditor.of(store)
    one, other = (Leases(tables, name, 60_000, 60_000) for name in ("one", "other"))
    await one.take()
    with pytest.raises(RebuildRefusedError, match=r"another rebuild .* try again in \d+ s"):
        await other.take()
    rebuilt = await one.new_generation()
    assert rebuilt.generation == 1
    with pytest.raises(RebuildRefusedError, match="took too long"):
        await one.switch(rebuilt)
    await one.seal()
    assert [await store.sealed(shard) for shard in range(store.shards)] == [True] * store.shards
    with pytest.raises(RebuildRefusedError):
        await other.seal()

    # The lease of the first one runs out, and the other one takes over.
    await Leases(tables, "one", 1, 60_000).renew()
    while True:
        try:
            await other.take()
            break
        except RebuildRefusedError:
            continue
    with pytest.raises(RebuildRefusedError, match="held up for too long"):
        await one.renew()
    with pytest.raises(RebuildRefusedError, match="another rebuild was faster"):
        await one.switch(rebuilt)
    assert await store.refresh() == 0
    newer = await other.new_generation()
    assert newer.generation == 2
    await one.unseal()
    assert not await store.sealed(0)
    await other.seal()
    await one.unseal()
    assert await store.sealed(0), "the seal of another owner stays"
    await other.switch(newer)
    await other.switch(newer)  # as if the client repeated it after an answer was lost
    assert await store.refresh() == 2
    await other.retire()
    assert await tables.garbage() is None


async def test_leases_that_ran_out_do_not_switch(store: WindowStore) -> None:
    tables = TableEditor.of(store)
    late = Leases(tables, "late", 60_000, 1_000)
    await late.take()
    rebuilt = await late.new_generation()
    await late.seal()
    # The seal lasts for another second, and the switch needs a margin of two.
    with pytest.raises(RebuildRefusedError):
        await late.switch(rebuilt)
    assert await store.refresh() == 0
