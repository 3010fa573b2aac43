"""Runs the demonstration: stack, init, worker and sink, posts, live windows, audit, chart."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path

from msgspec.structs import replace

from connectors.kafka.offsets import OffsetReader
from connectors.local import Endpoints, LocalStack
from streams.connections import kafka_config
from streams.errors import InputError
from streams.ingest.lines import open_lines
from streams.ingest.posts import PostMaker
from streams.ingest.produce import send_posts
from streams.ingest.reading import InputSpec, guess_format, read_rows
from streams.ingest.rows import Refusal
from streams.ingest.tally import Tally
from streams.ops.audit import Check, audit_until_balanced
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.demo.progress import Counts, ProgressReader
from streams.ops.init import init_all
from streams.records import EmotionWindow, Post, Timestamp
from streams.redact import remember_secrets
from streams.settings import Settings, load_settings
from streams.window_sizes import format_duration
from streams.windows.connect import open_store
from streams.windows.store import WindowStore

MARKER_FILE = ".emostream-demo"
"""A folder with this file in it is the demonstration's, and may be emptied."""

SPREAD = timedelta(minutes=5)
"""Posts without a time of their own are spread evenly over this long before now, so that several windows fill."""

FEED_S = 8.0
"""How long feeding the posts takes, so that the windows can be seen filling; large files go as fast as they can."""

SLOWEST_RATE = 40.0
FASTEST_RATE = 400.0
"""Posts a second. Above the fastest the model on a small machine would be the brake, not the pace."""

STALL_S = 60.0
"""Without any progress for this long the demonstration gives up waiting and lets the audit speak."""

POLL_S = 0.5
AUDIT_PATIENCE_S = 15.0
"""For the last windows to reach Postgres: the longest are published every two seconds."""


@dataclass
class DemoProgress:
    """What the display shows.

    Attributes:
        produced: posts handed to Kafka so far.
        total: posts in the input.
        counts: what has arrived where.
        windows: the windows in Redis, latest first.
    """

    produced: int = 0
    total: int = 0
    counts: Counts = field(default_factory=Counts)
    windows: list[EmotionWindow] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    checks: list[Check]
    chart: Path
    refused: list[str]
    seconds: float


def read_posts(path: Path, settings: Settings) -> tuple[list[Post], Tally]:
    """The posts of a file, those without a time spread over the last minutes; and what was refused.

    Raises:
        InputError: the file cannot be read, or holds no post.
    """
    spec = InputSpec(guess_format(str(path)), text_max_chars=settings.text_max_chars)
    maker, tally = PostMaker(source=path.name), Tally()
    made: list[tuple[Post, bool]] = []
    with open_lines(str(path)) as lines:
        for row in read_rows(lines, spec):
            if isinstance(row, Refusal):
                tally.add(row)
                continue
            post = maker.make(row)
            if isinstance(post, Refusal):
                tally.add(post)
            else:
                made.append((post, "created_at" in row.values))
    if not made:
        raise InputError(f"{path} holds no post that can be used")
    now = Timestamp.now(UTC)
    step = SPREAD / len(made)
    posts = [
        post if has_time else replace(post, created_at=now - SPREAD + step * i)
        for i, (post, has_time) in enumerate(made)
    ]
    return posts, tally


@contextlib.contextmanager
def fresh_stack(data_dir: Path, on_line: Callable[[str], None], *, keep: bool) -> Iterator[Endpoints]:
    """An embedded stack with nothing in it; stopped at the end unless it is to be kept.

    Raises:
        InputError: the folder holds what is not the demonstration's.
    """
    if data_dir.is_dir() and any(data_dir.iterdir()) and not (data_dir / MARKER_FILE).is_file():
        raise InputError(f"{data_dir} holds something else; the demo empties its folder, so give it one of its own")
    stack = LocalStack(data_dir, on_progress=on_line)
    stack.down()
    if data_dir.exists():
        shutil.rmtree(data_dir)
    data_dir.mkdir(parents=True)
    (data_dir / MARKER_FILE).write_text("The demo's own folder: emptied at its start.\n")
    try:
        yield stack.up()
    finally:
        if not keep:
            stack.down()


async def run_demo(
    posts_file: Path,
    data_dir: Path,
    *,
    keep: bool,
    on_line: Callable[[str], None],
    on_progress: Callable[[DemoProgress], None],
) -> Outcome:
    """Run everything on the posts of a file.

    Args:
        posts_file: JSON lines, CSV, TSV or text, by its suffix.
        data_dir: the demonstration's own folder; emptied first.
        keep: leave the stack and its data running.
        on_line: told what happens, a line at a time.
        on_progress: told twice a second how far the posts have come.

    Raises:
        EmostreamError, ConnectorError, ModelError: a part does not work; the message says which.
    """
    began = time.monotonic()
    # Only to know the limits that a post must keep to; the addresses come with the stack.
    posts, tally = read_posts(posts_file, Settings.model_construct())
    with fresh_stack(data_dir, on_line, keep=keep) as endpoints:
        cache = str(data_dir / "models")
        env = {
            **endpoints.as_env(),
            "EMOSTREAM_EMIT_INTERVAL_MS": "200",
            "EMOSTREAM_WEB_PORT": "0",
            "EMOSTREAM_SINK_WEB_PORT": "0",
            # A few hundred posts: one process that has all cores is there soonest.
            "EMOSTREAM_WORKER_PROCESSES": "1",
            # The demonstration itself keeps the machine busy.
            "EMOSTREAM_SINK_CPU_PERCENT": "100",
            "EMOSTREAM_MODEL_CACHE": cache,
        }
        settings = load_settings(env_file=None, environ=env)
        remember_secrets(settings.secrets())
        init_all(settings, on_line)
        environment = clean_environment(env)
        logs = data_dir / "logs"
        with (
            Role("worker", ["worker"], env=environment, log=logs / "worker.log") as worker,
            Role("sink", ["sink"], env=environment, log=logs / "sink.log") as sink,
        ):
            on_line(f"worker (pid {worker.pid}) and sink (pid {sink.pid}) started; logs in {logs}")
            async with open_store(settings) as store:
                await _feed(settings, store, posts, [worker, sink], on_progress)
                checks = await audit_until_balanced(settings, store, lambda *_: None, patience_s=AUDIT_PATIENCE_S)
        chart = data_dir / "emotions_by_keyword.png"
        _draw(settings, chart, posts_file)
    return Outcome(checks, chart, tally.describe(), time.monotonic() - began)


async def _feed(
    settings: Settings,
    store: WindowStore,
    posts: list[Post],
    roles: list[Role],
    on_progress: Callable[[DemoProgress], None],
) -> None:
    """Send the posts, and look on until all have arrived everywhere or nothing moves any more."""
    rate = max(SLOWEST_RATE, len(posts) / FEED_S)
    progress = DemoProgress(total=len(posts))
    reader = OffsetReader(kafka_config(settings), group="emostream-demo")
    progress_reader = ProgressReader(settings, store, reader)

    def sent(count: int) -> None:
        progress.produced += count

    feeding = asyncio.ensure_future(
        asyncio.to_thread(send_posts, settings, posts, rate=rate if rate <= FASTEST_RATE else None, on_sent=sent)
    )
    moved = time.monotonic()
    try:
        while not (feeding.done() and _arrived(progress)):
            await asyncio.sleep(POLL_S)
            for role in roles:
                role.check()
            windows = await progress_reader.windows()
            counts = await asyncio.to_thread(progress_reader.counts, windows)
            if counts != progress.counts or not feeding.done():
                moved = time.monotonic()
            progress.counts, progress.windows = counts, windows
            on_progress(progress)
            if time.monotonic() - moved > STALL_S:
                break
        await feeding
    finally:
        feeding.cancel()
        reader.close()


def _arrived(progress: DemoProgress) -> bool:
    counts = progress.counts
    done = counts.classified + counts.dead >= progress.total
    return done and counts.in_windows >= counts.classified and counts.in_postgres >= counts.classified


def _draw(settings: Settings, chart: Path, posts_file: Path) -> None:
    from streams.ops.demo.chart import draw_shares, read_shares  # noqa: PLC0415 - loads matplotlib

    size = settings.window_sizes[0].seconds
    shares = read_shares(settings.postgres_dsn.get_secret_value(), size)
    draw_shares(shares, chart, subtitle=f"{posts_file.name}, {format_duration(size)} windows, from Postgres")
