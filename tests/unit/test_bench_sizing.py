"""`emostream bench` computes the sizes of a deployment from measured costs, and shows them readably."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import pytest
from rich.console import Console

from streams.cli.bench import Display, assumptions_line, format_figure, measured_table, size_table
from streams.ops.bench.model import ModelRate
from streams.ops.bench.pipeline import Throughput
from streams.ops.bench.posts import make_posts
from streams.ops.bench.run import Machine, Report, warnings_of
from streams.ops.bench.sizing import Assumptions, Costs, expected_distinct, size_for, sizes_for
from streams.ops.bench.storage import SinkFigures, WindowMemory
from streams.records import Keywords, Post
from streams.window_sizes import parse_sizes
from tests.helpers import NOON

COSTS = Costs(
    worker_cpu_s=0.0007,
    broker_cpu_s=0.0001,
    redis_cpu_s=0.00002,
    sink_cpu_s=0.00003,
    postgres_cpu_s=0.00001,
    worker_bytes=300e6,
    window_bytes={60: 400.0, 3_600: 600.0},
    post_row_bytes=500.0,
    window_row_bytes=1_000.0,
    raw_bytes=200.0,
    classified_bytes=300.0,
    window_record_bytes=100.0,
    keywords_per_post=1.0,
)
ASSUMED = Assumptions(keywords=500, sizes=parse_sizes("1m:1h,1h:1d"), emit_s=1.0)
PIPELINE = Throughput(
    posts=20_000,
    measured=18_000,
    seconds=20.0,
    posts_per_second=900.0,
    cpu_s={"worker": 0.0007, "kafka": 0.0001, "redis": 0.00002},
    worker_bytes=300_000_000,
    supervisor_bytes=0,
    others=0.02,
)


def report(**changes: object) -> Report:
    whole = Report(
        machine=Machine(2, "x86_64", "Linux", "3.11.7", "0.1.0"),
        processes=1,
        model=ModelRate("emotion", "1.0.0", 5_000, 5.0, 1_000.0, 0.0006),
        accept_cpu_s=0.00002,
        pipeline=PIPELINE,
        redis=[WindowMemory(60, 5_000, 400.0), WindowMemory(3_600, 900, 600.0)],
        postgres=SinkFigures(20_000, 6_000, 500.0, 1_000.0, 0.00003, 0.00001, 0.00002),
        costs=COSTS,
        assumptions=ASSUMED,
        sizes=list(sizes_for([100.0, 10_000.0], COSTS, ASSUMED)),
        warnings=[],
    )
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type] # by name


def shown(*parts: object) -> str:
    out = Console(file=io.StringIO(), width=120)
    out.print(*parts)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


class TestSizes:
    def test_every_column_by_hand(self) -> None:
        # There are so many posts that each of 500 keywords and "*" has some in every second.
        size = size_for(1e7, COSTS, ASSUMED)
        assert size.cores == pytest.approx(1e7 * 0.0007 / 0.7) == pytest.approx(10_000)
        assert size.broker_cores == pytest.approx(1_000)
        assert size.redis_cores == pytest.approx(200)
        assert size.sink_cores == pytest.approx(400)
        # 60 ended minutes and 24 ended hours are kept, and one of each is open.
        assert size.redis_windows == pytest.approx(501 * (61 + 25))
        assert size.redis_bytes == pytest.approx(501 * (61 + 25) * 600)
        assert size.postgres_posts_bytes_per_day == pytest.approx(1e7 * 86_400 * 500)
        assert size.postgres_windows_bytes_per_day == pytest.approx(501 * (1_440 + 24) * 1_000)
        assert size.kafka_posts_bytes_per_day == pytest.approx(1e7 * 86_400 * 500)
        # Windows of an hour are updated every ten seconds.
        assert size.kafka_windows_bytes_per_day == pytest.approx(501 * 1.1 * 86_400 * 100)

    @pytest.mark.parametrize(("rate", "workers"), [(0.001, 1), (999, 1), (1_001, 2), (9_999, 10)])
    def test_there_is_a_worker_process_for_each_core_or_part_of_one(self, rate: float, workers: int) -> None:
        size = size_for(rate, COSTS, ASSUMED)
        assert (size.workers, size.partitions) == (workers, workers)
        assert size.worker_bytes == workers * 300e6

    def test_cores_have_the_assumed_headroom(self) -> None:
        full = dataclasses.replace(ASSUMED, utilization=1.0)
        assert size_for(1_000, COSTS, full).cores == pytest.approx(0.7)

    def test_few_posts_fill_few_windows(self) -> None:
        # One post an hour fills at most a window of "*" and one of its keyword, of each size.
        size = size_for(1 / 3_600, COSTS, ASSUMED)
        assert size.redis_windows < 2 * (1 / 60 * 61 + 25)
        assert size.kafka_windows_bytes_per_day == pytest.approx(24 * 2 * 2 * 100, rel=0.01)

    def test_rates_are_in_order_without_duplicates(self) -> None:
        assert [size.rate for size in sizes_for([50, 5, 50, 0.5], COSTS, ASSUMED)] == [0.5, 5, 50]


@pytest.mark.parametrize(
    ("posts", "keywords", "per_post", "expected"),
    [
        (0, 10, 1.0, 0.0),
        (1e9, 10, 1.0, 11.0),
        (1e9, 10, 0.0, 1.0),
        (1, 1, 1.0, 2 * (1 - math.exp(-1))),
    ],
)
def test_the_expected_number_of_keywords_with_a_post(
    posts: float, keywords: int, per_post: float, expected: float
) -> None:
    assert expected_distinct(posts, keywords, per_post) == pytest.approx(expected)


def test_expected_distinct_is_what_drawn_posts_show() -> None:
    """The formula against counting: windows of 200 posts, each with its keyword."""
    samples = [Post(id="a", text="x", created_at=NOON, source="s", keywords=Keywords(("k",)))]
    posts = list(make_posts(samples, 20_000, keywords=100, end=NOON))
    windows = [posts[start : start + 200] for start in range(0, len(posts), 200)]
    counted = sum(1 + len({word for post in window for word in post.keywords}) for window in windows) / len(windows)
    assert expected_distinct(200, 100, 1.0) == pytest.approx(counted, rel=0.03)


class TestShown:
    def test_the_tables(self) -> None:
        text = " ".join(shown(measured_table(report()), size_table(report().sizes), assumptions_line(report())).split())
        for line in (
            "│ posts/s per core of the worker │ 1,430 │",
            "│ CPU of Redis for 1,000 posts │ 0.02 s │",
            "│ Redis for a window of 1h │ 600 bytes │",
            "│ cores for the workers │ 0.1 │ 10 │",
            "│ worker processes │ 1 │ 10 │",
            "│ memory of the workers │ 300.0 MB │ 3.0 GB │",
            "│ Postgres a day, posts │ 4.3 GB │ 432.0 GB │",
            "500 keywords, 1 in a post; windows 1m:1h, 1h:1d; worker cores used to 70 %",
        ):
            assert line in text

    @pytest.mark.parametrize(
        ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (99.95, "100"), (12_345.6, "12,300")]
    )
    def test_figures_have_three_significant_digits(self, value: float, text: str) -> None:
        assert format_figure(value) == text

    def test_the_report_is_json(self) -> None:
        found = json.loads(json.dumps(dataclasses.asdict(report())))
        assert [size["rate"] for size in found["sizes"]] == [100, 10_000]

    def test_a_busy_machine_is_a_warning(self) -> None:
        assert warnings_of(PIPELINE, 360) == []
        (line,) = warnings_of(dataclasses.replace(PIPELINE, others=0.34), 360)
        assert "other processes used 34 %" in line

    def test_few_different_posts_are_a_warning(self) -> None:
        (line,) = warnings_of(PIPELINE, 2)
        assert "only 2 different posts" in line

    def test_off_a_terminal_each_step_is_a_line(self) -> None:
        out = Console(file=io.StringIO())
        with Display(out) as display:
            display.step("the sink")
            display.count(1, 2)
        assert out.file.getvalue() == "the sink\n"  # type: ignore[attr-defined] # a StringIO

    def test_on_a_terminal_there_is_a_bar(self) -> None:
        out = Console(file=io.StringIO(), force_terminal=True, width=100)
        with Display(out) as display:
            display.step("workers")
            display.count(7, 20)
        text = out.file.getvalue()  # type: ignore[attr-defined] # a StringIO
        assert "workers" in text
        assert "7 of 20 posts" in text
