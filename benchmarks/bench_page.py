"""Measures the dashboard in a real Chromium: its first view, its delay from produce to pixel, and ten minutes of posts.

    python benchmarks/bench_page.py
    python benchmarks/bench_page.py --seconds 60 --rate 200 --json page.json --trace page-trace.json

It starts its own servers, a worker and `emostream api`, and opens the page in three parts:

1. New visitors open it, whose cache is empty: how long until there is text, and until there is the first chart.
2. Posts come at half of the rate. Each has an id of its own, and the page notes the frame after which an item with this
   id is painted. The delay counts from the moment in which the post is given to the producer.
3. Posts come at the full rate. The heap is measured after collections of garbage; at the end the feed is scrolled while
   posts go on coming, and each frame is timed.

A page shows no more posts than somebody can read, so not every post appears. The delays are those of the posts that do.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import click
import psutil
from confluent_kafka import Producer
from playwright.async_api import Browser

from benchmarks.harness.page import (
    FirstView,
    Frames,
    Memory,
    WatchedPage,
    first_view,
    growth_per_hour,
    open_watched,
    wait_for_post,
)
from connectors.local import LocalStack
from streams.ops.init import init_model
from streams.settings import Settings, load_settings
from tests.browser.chromium import NoBrowserError, running_chromium
from tests.browser.live_system import LiveSystem, live_system
from tests.integration.support import KEYWORDS, TEXTS, post

TICK_S = 0.02
"""Seconds between two turns of the producer."""

START_S = 120.0
"""Seconds that the page has to show the first post."""


@dataclass(frozen=True)
class Delays:
    """The delays from produce to pixel.

    Attributes:
        rate: posts a second.
        produced: posts that were produced.
        shown: those of them that the page has shown.
        p50_s, p95_s, p99_s, worst_s: seconds from the producer to the frame.
    """

    rate: float
    produced: int
    shown: int
    p50_s: float
    p95_s: float
    p99_s: float
    worst_s: float


@dataclass(frozen=True)
class Feed:
    """A page while many posts come.

    Attributes:
        delays: the delays meanwhile.
        memory: the memory, sample by sample.
        growth_mb_per_hour: how the heap grows, by the line of least squares after the first fifth of the time.
        frames: the frames while the feed is scrolled.
        service_cpu: share of a core that the HTTP service used.
        worker_cpu: that of the worker.
    """

    delays: Delays
    memory: list[Memory]
    growth_mb_per_hour: float
    frames: Frames
    service_cpu: float
    worker_cpu: float


class Posts(threading.Thread):
    """Produces posts at a constant rate, and keeps when it produced each. A context manager.

    Attributes:
        produced: seconds since 1970, by the id of the post.
    """

    def __init__(self, settings: Settings, rate: float) -> None:
        super().__init__(name="posts", daemon=True)
        self.produced: dict[str, float] = {}
        self.rate = rate
        self._settings = settings
        self._told_to_stop = threading.Event()

    def __enter__(self) -> Posts:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._told_to_stop.set()
        self.join()

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self._settings.kafka_bootstrap, "linger.ms": 0})
        begin, numbers = time.monotonic(), count()
        while not self._told_to_stop.wait(TICK_S):
            while len(self.produced) < (time.monotonic() - begin) * self.rate:
                number = next(numbers)
                id_ = f"page-{id(self):x}-{number}"
                value = post(TEXTS[number % len(TEXTS)], id=id_, keywords=[KEYWORDS[number % len(KEYWORDS)]])
                self.produced[id_] = time.time()
                producer.produce(self._settings.topic_raw, value, id_.encode())
            producer.poll(0)
        producer.flush(60)


def delays_of(posts: Posts, shown: dict[str, float]) -> Delays:
    """Returns the delays of the posts that were shown."""
    found = sorted(at - posts.produced[id_] for id_, at in shown.items() if id_ in posts.produced)
    if len(found) < 2:
        raise click.ClickException(f"the page has shown {len(found)} of {len(posts.produced):,} posts")
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    values = (round(value, 3) for value in (cuts[49], cuts[94], cuts[98], found[-1]))
    return Delays(posts.rate, len(posts.produced), len(found), *values)


async def collect(page: WatchedPage, shown: dict[str, float], seconds: float) -> None:
    """Note for some seconds which posts appear."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(1.0, left))
        shown.update(await page.posts())


async def measure_delays(browser: Browser, system: LiveSystem, rate: float, seconds: float) -> Delays:
    """Part 2."""
    page = await open_watched(browser, f"{system.address}/")
    with Posts(system.settings, rate) as warming:
        await wait_for_post(page, START_S)
        await collect(page, {}, min(5.0, seconds))
        del warming
    shown: dict[str, float] = {}
    with Posts(system.settings, rate) as posts:
        await collect(page, shown, seconds)
    await collect(page, shown, 5.0)
    await page.page.context.close()
    return delays_of(posts, shown)


async def measure_feed(
    browser: Browser, system: LiveSystem, *, rate: float, seconds: float, scroll_s: float, trace: Path | None
) -> Feed:
    """Part 3."""
    page = await open_watched(browser, f"{system.address}/")
    shown: dict[str, float] = {}
    memory: list[Memory] = []
    processes = [psutil.Process(role.pid) for role in (system.service, system.worker)]
    with Posts(system.settings, rate) as posts:
        await wait_for_post(page, START_S)
        begin = time.monotonic()
        used = [sum(one.cpu_times()[:2]) for one in processes]
        while (at := time.monotonic() - begin) < seconds:
            memory.append(await page.memory(at))
            click.echo(f"  {at:5.0f} s: {memory[-1].heap_mb:.1f} MB, {memory[-1].nodes:,} nodes", err=True)
            await collect(page, shown, min(max(2.0, seconds / 60), seconds - at))
        memory.append(await page.memory(time.monotonic() - begin))
        took = time.monotonic() - begin
        service, worker = (
            round((sum(one.cpu_times()[:2]) - before) / took, 3) for one, before in zip(processes, used, strict=True)
        )
        delays = delays_of(posts, shown)
        if trace is not None:
            await browser.start_tracing(page=page.page, path=trace)
        frames = await page.scroll(scroll_s)
        if trace is not None:
            await browser.stop_tracing()
    await page.page.context.close()
    settled = [one for one in memory if one.at_s >= seconds / 5]
    return Feed(delays, memory, growth_per_hour(settled), frames, service, worker)


@dataclass(frozen=True)
class Result:
    """Everything that was measured."""

    chromium: str
    first_views: list[FirstView]
    half: Delays
    feed: Feed


async def measure(
    system: LiveSystem, *, visits: int, rate: float, seconds: float, delay_s: float, scroll_s: float, trace: Path | None
) -> Result:
    """Run the three parts, one after the other."""
    async with running_chromium() as browser:
        views = [await first_view(browser, f"{system.address}/") for _ in range(visits)]
        report_views("without posts", views)
        half = await measure_delays(browser, system, rate / 2, delay_s)
        report_delays(half)
        views += (again := [await first_view(browser, f"{system.address}/") for _ in range(visits)])
        report_views("with posts", again)
        feed = await measure_feed(browser, system, rate=rate, seconds=seconds, scroll_s=scroll_s, trace=trace)
        report_feed(feed)
        return Result(browser.version, views, half, feed)


def report_views(when: str, views: Sequence[FirstView]) -> None:
    """Print part 1."""
    complete = sorted(view.complete_ms for view in views)
    painted = sorted(view.painted_ms for view in views)
    click.echo(
        f"first view {when}: {len(views)} visits, text after {statistics.median(painted):.0f} ms (median), the first "
        f"chart after {statistics.median(complete):.0f} ms (worst {complete[-1]:.0f} ms), {views[0].bytes:,} bytes"
    )


def report_delays(delays: Delays) -> None:
    """Print part 2."""
    click.echo(
        f"produce to pixel at {delays.rate:g} posts/s: p50 {delays.p50_s:.2f} s, p95 {delays.p95_s:.2f} s, "
        f"p99 {delays.p99_s:.2f} s, worst {delays.worst_s:.2f} s; {delays.shown:,} of {delays.produced:,} posts shown"
    )


def report_feed(feed: Feed) -> None:
    """Print part 3."""
    report_delays(feed.delays)
    heaps = [one.heap_mb for one in feed.memory]
    frames = feed.frames
    click.echo(
        f"heap {heaps[0]:.1f} MB at first, {heaps[-1]:.1f} MB at the end, {max(heaps):.1f} MB at most; grows "
        f"{feed.growth_mb_per_hour:+.1f} MB an hour; nodes {feed.memory[0].nodes:,} to {feed.memory[-1].nodes:,}"
    )
    click.echo(
        f"scrolling: {frames.count} frames, p50 {frames.p50_ms:.1f} ms, p95 {frames.p95_ms:.1f} ms, p99 "
        f"{frames.p99_ms:.1f} ms, worst {frames.worst_ms:.0f} ms, {frames.late:.2%} late; {frames.scrolled_px} px"
    )
    click.echo(f"HTTP service {feed.service_cpu:.0%} of a core, worker {feed.worker_cpu:.0%}")


@click.command(help=__doc__)
@click.option("--seconds", default=600.0, show_default=True, help="Seconds of posts at the full rate.")
@click.option("--delay-seconds", "delay_s", default=60.0, show_default=True, help="Seconds at half of the rate.")
@click.option("--scroll-seconds", "scroll_s", default=20.0, show_default=True, help="Seconds of scrolling.")
@click.option("--rate", default=500.0, show_default=True, help="Posts a second.")
@click.option("--visits", default=10, show_default=True, help="Visitors before there are posts, and after.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="File for the measurements.")
@click.option("--trace", type=click.Path(path_type=Path), help="File for a trace of the scrolling, for DevTools.")
def main(
    *, seconds: float, delay_s: float, scroll_s: float, rate: float, visits: int, path: Path | None, trace: Path | None
) -> None:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder) / "stack")
        try:
            env = {**stack.up().as_env(), "EMOSTREAM_MODEL_CACHE": f"{folder}/models", "EMOSTREAM_WEB_PORT": "0"}
            init_model(load_settings(env_file=None, environ=env), lambda _: None)
            with live_system(env, Path(folder), rate=0, EMOSTREAM_WORKER_PROCESSES="1") as system:
                measuring = measure(
                    system, visits=visits, rate=rate, seconds=seconds, delay_s=delay_s, scroll_s=scroll_s, trace=trace
                )
                found = asyncio.run(measuring)
        except NoBrowserError as exc:
            raise click.ClickException(str(exc)) from exc
        finally:
            stack.down()
    if path is not None:
        path.write_text(json.dumps(asdict(found), indent=1))


if __name__ == "__main__":
    main()
