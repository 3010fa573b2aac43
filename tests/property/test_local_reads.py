"""A consumer that does not fetch own records still consumes every record of every process once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.batch import OwnRange
from connectors.kafka.own_records import QUIET_S, LocalReads, OwnRecords

PARTITIONS = 2

steps = st.lists(
    st.one_of(
        st.tuples(st.just("own"), st.integers(0, PARTITIONS - 1), st.integers(1, 4)),
        st.tuples(st.just("untold"), st.integers(0, PARTITIONS - 1), st.integers(1, 4)),
        st.tuples(st.just("not kept"), st.integers(0, PARTITIONS - 1), st.integers(1, 4)),
        st.tuples(st.just("poll"), st.integers(0, 5), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


class Consumer:
    """Does what `PositionedConsumer` does, with a list for each partition in place of the client."""

    def __init__(self) -> None:
        self.logs: list[int] = [0] * PARTITIONS
        self.next_offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.fetching = dict(self.next_offsets)
        self.own = OwnRecords(memory_limit=8)
        self.local = LocalReads()
        self.seen: dict[int, list[int]] = {partition: [] for partition in self.next_offsets}
        self.now = 0.0
        self.fetched = 0

    def write(self, partition: int, count: int, kind: str) -> None:
        first = self.logs[partition]
        self.logs[partition] += count
        if kind == "own":
            self.own.offer(OwnRange(partition, first, list(range(first, self.logs[partition])), memory=count))
        elif kind == "not kept":
            self.own.offer(OwnRange(partition, self.logs[partition], (), memory=0))

    def poll(self, fetch: int, most: int) -> None:
        for partition in self.next_offsets.keys() - self.local.partitions:
            for offset in range(self.fetching[partition], min(self.fetching[partition] + fetch, self.logs[partition])):
                self.fetching[partition] = offset + 1
                if offset >= self.next_offsets[partition]:
                    self.take(partition, [offset])
                    self.fetched += 1
        ranges = self.own.take(most)
        plan = self.local.plan(ranges, self.next_offsets, self.now, all_taken=not len(self.own))
        for own in plan.consumed:
            assert own.items
            self.take(own.partition, own.items)
        for partition in plan.fetch:
            self.fetching[partition] = self.next_offsets[partition]

    def take(self, partition: int, offsets: list[int] | tuple[int, ...]) -> None:
        self.seen[partition] += offsets
        self.next_offsets[partition] += len(offsets)


@given(steps)
def test_every_record_is_consumed_once_and_in_order(wanted: list[tuple[str, int, int]]) -> None:
    consumer = Consumer()
    for kind, first, second in wanted:
        if kind == "poll":
            consumer.poll(first, second)
        elif kind == "wait":
            consumer.now += QUIET_S
        else:
            consumer.write(first, second, kind)
        assert all(seen == list(range(len(seen))) for seen in consumer.seen.values())
    for _ in range(3):
        consumer.now += 2 * QUIET_S
        consumer.poll(1_000, 1_000)
    assert consumer.seen == {partition: list(range(end)) for partition, end in enumerate(consumer.logs)}


@given(st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.integers(1, 4)), max_size=40))
def test_a_process_that_alone_writes_and_polls_in_time_fetches_nothing(writes: list[tuple[int, int]]) -> None:
    consumer = Consumer()
    for partition, count in writes:
        consumer.write(partition, count, "own")
        consumer.poll(0, 100)
        consumer.now += QUIET_S / 100
    assert consumer.fetched == 0
    assert [len(seen) for seen in consumer.seen.values()] == consumer.logs


@given(st.lists(st.tuples(st.sampled_from(["own", "not kept"]), st.integers(1, 4)), max_size=40))
def test_records_that_were_not_kept_are_fetched_without_a_wait(writes: list[tuple[str, int]]) -> None:
    consumer = Consumer()
    for kind, count in writes:
        consumer.write(0, count, kind)
        consumer.poll(100, 100)
        consumer.poll(100, 100)
        assert consumer.seen[0] == list(range(consumer.logs[0]))
