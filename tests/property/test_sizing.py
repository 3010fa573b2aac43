"""For all costs: more posts, keywords or headroom never need less, and costs of posts grow linearly with the rate."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ops.bench.sizing import Assumptions, Costs, Size, expected_distinct, size_for
from streams.window_sizes import WindowSize

positive = st.floats(1e-9, 1e3)
sizes = st.lists(st.integers(1, 86_400), min_size=1, max_size=4, unique=True).flatmap(
    lambda lengths: st.tuples(
        *(st.builds(WindowSize, st.just(length), st.integers(length, 40_000_000)) for length in lengths)
    )
)
rates = st.floats(1e-3, 1e6)
assumptions = st.builds(
    Assumptions,
    keywords=st.integers(1, 300),
    sizes=sizes,
    emit_s=st.floats(0.05, 600),
    utilization=st.floats(0.1, 1),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Costs, Assumptions]:
    assumed = draw(assumptions)
    fields = {field.name: draw(positive) for field in dataclasses.fields(Costs)}
    each = {size.seconds: draw(positive) for size in assumed.sizes}
    return Costs(**{**fields, "window_bytes": each}), assumed  # type: ignore[arg-type] # all others are numbers


def no_less(more: Size, less: Size) -> bool:
    """Returns whether every figure of `more` is at least that of `less`, except for rounding."""
    pairs = zip(dataclasses.astuple(more), dataclasses.astuple(less), strict=True)
    return all(a >= b * (1 - 1e-9) for a, b in pairs)


@given(cases(), rates, rates)
def test_more_posts_never_need_less(case: tuple[Costs, Assumptions], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert no_less(size_for(high, *case), size_for(low, *case))


@given(cases(), rates, st.integers(1, 300))
def test_more_headroom_never_needs_less(case: tuple[Costs, Assumptions], rate: float, percent: int) -> None:
    costs, assumed = case
    lower = dataclasses.replace(assumed, utilization=assumed.utilization * min(1, percent / 300))
    assert no_less(size_for(rate, costs, lower), size_for(rate, costs, assumed))


@given(cases(), rates, st.integers(1, 1_000))
def test_costs_of_posts_are_linear_in_the_rate(case: tuple[Costs, Assumptions], rate: float, times: int) -> None:
    one, many = size_for(rate, *case), size_for(rate * times, *case)
    for name in (
        "cores",
        "broker_cores",
        "redis_cores",
        "sink_cores",
        "postgres_posts_bytes_per_day",
        "kafka_posts_bytes_per_day",
    ):
        assert getattr(many, name) == pytest.approx(times * getattr(one, name))


@given(cases(), rates)
def test_there_are_as_many_workers_as_the_cores_need(case: tuple[Costs, Assumptions], rate: float) -> None:
    size = size_for(rate, *case)
    assert size.workers - 1 < size.cores <= size.workers
    assert size.partitions >= size.workers >= 1


@given(
    st.just(0.0) | st.floats(1e-9, 1e9), st.integers(1, 300), st.integers(0, 300), st.just(0.0) | st.floats(1e-9, 64)
)
def test_no_more_windows_than_keywords_or_posts(posts: float, keywords: int, more: int, per_post: float) -> None:
    found = expected_distinct(posts, keywords, per_post)
    assert 0 <= found <= keywords + 1
    assert found <= posts * (1 + per_post) * (1 + 1e-9)
    assert expected_distinct(posts, keywords + more, per_post) >= found * (1 - 1e-9)
