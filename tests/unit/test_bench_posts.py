"""The posts of `emostream bench` are like the sample, always the same, and enough for a measurement."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from msgspec.structs import replace

from streams.cli.bench import SHORTEST_S
from streams.ops.bench.posts import SPAN_S, keyword_weights, make_posts, mean_keywords
from streams.ops.bench.run import posts_for
from streams.ops.bench.steady import steady
from streams.records import Keywords, Post
from tests.helpers import NOON


class TestPosts:
    SAMPLES = (
        Post(id="a", text="one", created_at=NOON, source="s", keywords=Keywords(("k", "l"))),
        Post(id="b", text="two", created_at=NOON, source="t", author="me"),
    )

    def test_the_texts_repeat_in_order_and_ids_are_new(self) -> None:
        posts = list(make_posts(self.SAMPLES, 5, keywords=50, end=NOON))
        assert [post.text for post in posts] == ["one", "two", "one", "two", "one"]
        assert [post.source for post in posts] == ["s", "t", "s", "t", "s"]
        assert posts[1].author == "me"
        assert len({post.id for post in posts}) == 5
        assert posts == list(make_posts(self.SAMPLES, 5, keywords=50, end=NOON))
        for post in posts:
            assert Post.from_json(post.to_json()) == post

    def test_the_posts_span_ten_minutes(self) -> None:
        posts = list(make_posts(self.SAMPLES, 100, keywords=5, end=NOON))
        assert posts[0].created_at == NOON - timedelta(seconds=SPAN_S)
        assert NOON - timedelta(seconds=SPAN_S / 100) <= posts[-1].created_at < NOON

    def test_a_post_has_as_many_keywords_as_its_sample_without_duplicates(self) -> None:
        posts = list(make_posts(self.SAMPLES, 2_000, keywords=50, end=NOON))
        assert {len(post.keywords) for post in posts[::2]} == {1, 2}
        assert {len(post.keywords) for post in posts[1::2]} == {0}
        names = Counter(word for post in posts for word in post.keywords)
        assert set(names) <= {f"keyword-{number}" for number in range(50)}
        weights = keyword_weights(50)
        share = sum(weights[:10]) / sum(weights)
        assert sum(names[f"keyword-{number}"] for number in range(10)) / names.total() == pytest.approx(share, rel=0.1)

    def test_each_post_has_a_keyword_if_no_sample_has_any(self) -> None:
        bare = [replace(sample, keywords=Keywords()) for sample in self.SAMPLES]
        assert all(len(post.keywords) == 1 for post in make_posts(bare, 10, keywords=5, end=NOON))
        assert mean_keywords(bare, 5) == 1

    def test_the_mean_number_of_keywords_is_that_of_the_posts(self) -> None:
        assert mean_keywords(self.SAMPLES, 1) == 0.5
        assert mean_keywords(self.SAMPLES * 500, 10_000) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("batch", [1, 128, 4_096])
@pytest.mark.parametrize("rate", [20, 800, 3_200, 50_000])
def test_the_shortest_measurement_has_enough_results(rate: int, batch: int) -> None:
    """Also if workers are twice as fast as the model alone was, and results come in batches."""
    count = posts_for(SHORTEST_S, rate, batch=batch, processes=1)
    times = [1e9 + (number // batch + 1) * batch / (2 * rate) for number in range(count)]
    part = steady(times, times[-1])
    assert part.per_second == pytest.approx(2 * rate, rel=0.01 if batch == 1 else 0.34)
