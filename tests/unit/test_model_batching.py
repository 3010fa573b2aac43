"""Micro-batches: every text is in one batch, texts of similar length are together, and no limit is exceeded."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from models.text.batching import CHEAP_FACTOR, MAX_BATCH, PADDING, TOKEN_BUDGET, Limits, chunks, micro_batches

LENGTHS = st.lists(st.integers(1, 300), max_size=60)


@given(LENGTHS, st.integers(1, 600), st.integers(1, 20), st.integers(0, 50))
def test_micro_batches(lengths: list[int], budget: int, most: int, padding: int) -> None:
    batches = list(micro_batches(lengths, Limits(budget, most, padding)))
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        padded = max(lengths[i] for i in batch) * len(batch)
        assert len(batch) == 1 or padded <= budget
        assert padded - sum(lengths[i] for i in batch) <= padding
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest)


def test_texts_of_the_same_length_share_a_batch() -> None:
    assert list(micro_batches([5, 3, 5, 3, 5], Limits())) == [[1, 3, 0, 2, 4]]
    assert list(micro_batches([3] * 10 + [3 + PADDING], Limits())) == [list(range(10)), [10]]


def test_the_batches_of_a_cheap_tier_are_larger() -> None:
    limits = Limits().for_cheap_tier()
    assert limits == Limits(TOKEN_BUDGET * CHEAP_FACTOR, MAX_BATCH * CHEAP_FACTOR, PADDING * CHEAP_FACTOR)
    uneven = [3] * 10 + [3 + PADDING // 2]
    assert [len(list(micro_batches(uneven, each))) for each in (Limits(), limits)] == [2, 1]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 20), st.integers(1, 100))
def test_chunks(sizes: list[int], most: int, most_size: int) -> None:
    parts = list(chunks(sizes, most, most_size))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(sizes)))
    for part in parts:
        count = part.stop - part.start
        assert 1 <= count <= most
        assert count == 1 or sum(sizes[part]) <= most_size
    for part, after in itertools.pairwise(parts):
        full = part.stop - part.start == most
        assert full or sum(sizes[part]) + sizes[after.start] > most_size, "no chunk ends earlier than needed"
