"""`emostream bench` without servers: the sizes, the posts, the output, and how signals end it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from streams.cli import cli
from streams.cli.bench import SHORTEST_S, Display, assumptions_line, format_figure, measured_table, size_table
from streams.ops.bench import run as bench_run
from streams.ops.bench.meter import family_cpu_s
from streams.ops.bench.model import ModelRate
from streams.ops.bench.pipeline import Throughput
from streams.ops.bench.posts import SPAN_S, keyword_weights, make_posts, mean_keywords
from streams.ops.bench.run import Machine, Report, environment_for, posts_for, warnings_of
from streams.ops.bench.signals import hold_signals
from streams.ops.bench.sizing import Assumptions, Costs, expected_distinct, size_for, sizes_for
from streams.ops.bench.steady import steady
from streams.ops.bench.storage import SinkFigures, WindowMemory
from streams.ops.demo.processes import clean_environment
from streams.ops.demo.sample import sample_posts
from streams.process.signals import exit_on_signals
from streams.records import Keywords, Post
from streams.settings import load_settings
from streams.window_sizes import parse_sizes
from tests.helpers import NOON, make_settings

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
        taking_cpu_s=0.00002,
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


class TestEnvironment:
    def test_settings_that_change_the_cost_are_those_of_the_user(self, tmp_path: Path) -> None:
        users = make_settings(
            window_sizes="2m:3h",
            batch_max=7,
            keep_text=False,
            topic_raw="theirs",
            kafka_bootstrap="theirs:1",
            redis_prefix="theirs",
            partitions=2,
            model_threads=8,
        )
        found = load_settings(env_file=None, environ=environment_for(users, tmp_path, processes=3))
        assert (found.window_sizes, found.batch_max, found.keep_text) == (users.window_sizes, 7, False)
        assert "theirs" not in repr(found)
        assert (found.partitions, found.worker_processes, found.model_threads) == (3, 3, 1)
        assert (found.model_uri, found.web_port, found.sink_web_port) == (str(tmp_path), 0, 0)

    def test_a_child_process_ignores_a_dotenv_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / ".env"
        file.write_text("EMOSTREAM_TOPIC_RAW=theirs\nEMOSTREAM_SHARDS=9\nEMOSTREAM_KAFKA_SECURITY_PROTOCOL=SASL_SSL\n")
        monkeypatch.setenv("EMOSTREAM_TOPIC_DEAD", "theirs")
        found = load_settings(env_file=file, environ=clean_environment({"EMOSTREAM_SHARDS": "2"}))
        assert found == make_settings(shards=2)


class TestCommand:
    @pytest.mark.parametrize(
        "arguments",
        [["--seconds", "1.9"], ["--rate", "0"], ["--rate", "-5"], ["--keywords", "0"], ["--processes", "0"]],
    )
    def test_an_impossible_option_is_refused_before_anything_starts(self, arguments: list[str]) -> None:
        result = CliRunner().invoke(cli, ["bench", *arguments])
        assert result.exit_code == 2
        assert arguments[0] in result.output

    def test_the_sample_posts_are_there(self) -> None:
        assert sample_posts().is_file()


class FakeStack:
    """Records what happens to the servers, and raises a Ctrl-C while they are stopped."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder
        self.happened: list[str] = []

    def up(self) -> None:
        self.happened.append("up")

    def stop(self, name: str) -> None:
        self.happened.append(f"stop {name}")

    def down(self) -> None:
        (self.data_dir / "log").touch()
        signal.raise_signal(signal.SIGINT)
        assert self.data_dir.exists()
        self.happened.append("down")


class TestSignals:
    def test_servers_are_stopped_and_removed_before_ctrl_c_has_its_effect(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bench_run, "LocalStack", FakeStack)
        with pytest.raises(KeyboardInterrupt), bench_run._servers(Display(Console(file=io.StringIO()))) as (stack, _):
            pass
        assert isinstance(stack, FakeStack)
        assert stack.happened == ["up", "stop s3", "down"]
        assert not stack.data_dir.exists()

    def test_a_delayed_signal_does_not_hide_an_error(self) -> None:
        def fail() -> None:
            with hold_signals():
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.raise_signal(number)
                raise ValueError("meanwhile")

        with pytest.raises(KeyboardInterrupt) as caught:
            fail()
        assert isinstance(caught.value.__context__, ValueError)

    def test_an_ignored_signal_is_not_delayed(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with hold_signals():
                signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)

    @pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
    def test_only_the_first_signal_unwinds_the_stack(self, number: signal.Signals, error: type[BaseException]) -> None:
        before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        cleaned = []

        def run() -> None:
            with exit_on_signals():
                try:
                    signal.raise_signal(number)
                finally:
                    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                        signal.raise_signal(each)
                        cleaned.append(each)

        with pytest.raises(error):
            run()
        assert len(cleaned) == 3
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before

    def test_an_ignored_signal_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with exit_on_signals():
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(
    not hasattr(psutil.Process().cpu_times(), "iowait"), reason="only Linux adds the time of ended children"
)
def test_processor_time_of_children_that_have_ended_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert family_cpu_s(parent.pid) >= 0.3
        parent.communicate(b"\n")
