"""Runs the demo.

1. Start an empty stack of servers.
2. Create topics, schema and model registry.
3. Start a worker, a sink and the HTTP service; with a live source also that.
4. Send the posts, and show the windows until all posts have arrived everywhere.
5. Audit the result; with a live source also read its status. Ask the HTTP service.
6. Draw the chart, and write the Tableau workbook.
"""

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
from connectors.local.ports import accepts, free_port
from streams.connections import kafka_config
from streams.errors import EmostreamError, InputError
from streams.ingest.posts import PostMaker
from streams.ingest.produce import send_posts
from streams.ingest.reading import InputSpec, guess_format, open_input, read_rows
from streams.ingest.rows import Refusal, RowRules
from streams.ingest.sources.status import Statuses, StatusReader
from streams.ingest.tally import Tally
from streams.ops.audit import Check, audit_until_balanced
from streams.ops.bi.workbook import write_workbook
from streams.ops.demo.live import ENVIRONMENT, LiveSource
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
"""A folder with this file in it belongs to the demo, which may empty it."""

SPREAD = timedelta(minutes=5)
"""Posts without a time are spread evenly over this time before now, so that several windows fill."""

FEED_S = 8.0
"""Seconds that sending the posts takes, so that the user sees the windows fill."""

SLOWEST_RATE = 40.0
FASTEST_RATE = 400.0
"""Limits of the rate, in posts a second. A file that needs more than the fastest rate is sent without a limit, because
the model is slower than that on a small machine."""

STALL_S = 60.0
"""Seconds without progress after which the demo no longer waits for posts, and audits what has arrived."""

POLL_S = 0.5
"""Seconds between two counts of the arrived posts."""

API_PORT = 8_000
"""The port of the HTTP service, if it is free."""

AUDIT_TIMEOUT_S = 15.0
"""Seconds for the last windows to reach Postgres. The longest windows are published every two seconds."""


@dataclass
class DemoProgress:
    """What the display shows.

    Attributes:
        produced: posts in the raw topic.
        total: posts in the input.
        counts: posts that have arrived in each place.
        windows: the windows of the shortest size in Redis, latest first.
    """

    produced: int = 0
    total: int = 0
    counts: Counts = field(default_factory=Counts)
    windows: list[EmotionWindow] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The result of the demo.

    Attributes:
        checks: the checks of the audit.
        chart: the file of the chart.
        workbook: the file of the Tableau workbook, which connects to the database of the demo.
        refused: a line for each reason for which rows were refused.
        seconds: how long the demo took.
        sources: the status of the live source; None without one.
        service_pid: the process id of the HTTP service, which still runs if `keep` was set.
    """

    checks: list[Check]
    chart: Path
    workbook: Path
    refused: list[str]
    seconds: float
    sources: Statuses | None = None
    service_pid: int = 0


def read_posts(path: Path, settings: Settings) -> tuple[list[Post], Tally]:
    """Read the posts of a file. Posts without a time are spread over the last `SPREAD`.

    Returns:
        The posts, and the refused rows.

    Raises:
        InputError: The file cannot be read, or no row of it makes a post.
    """
    spec = InputSpec(guess_format(str(path)), RowRules(settings.text_max_chars))
    maker, tally = PostMaker(source=path.name), Tally()
    made: list[tuple[Post, bool]] = []
    with open_input(str(path), spec) as lines:
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
        raise InputError("; ".join([f"{path} holds no post that can be used", *tally.describe()]))
    now = Timestamp.now(UTC)
    step = SPREAD / len(made)
    posts = [
        post if has_time else replace(post, created_at=now - SPREAD + step * i)
        for i, (post, has_time) in enumerate(made)
    ]
    return posts, tally


@contextlib.contextmanager
def fresh_stack(data_dir: Path, on_line: Callable[[str], None], *, keep: bool) -> Iterator[Endpoints]:
    """Start a stack without data, and yield its addresses. Stops it at the end, unless `keep` is set.

    Raises:
        InputError: The folder has files in it and does not belong to the demo.
    """
    if data_dir.is_dir() and any(data_dir.iterdir()) and not (data_dir / MARKER_FILE).is_file():
        raise InputError(f"{data_dir} holds other files; the demo empties its folder, so give another --data-dir")
    stack = LocalStack(data_dir, on_progress=on_line)
    stack.down()
    if data_dir.exists():
        shutil.rmtree(data_dir)
    data_dir.mkdir(parents=True)
    (data_dir / MARKER_FILE).write_text("This folder belongs to `emostream demo`, which empties it when it starts.\n")
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
    live: bool = False,
    on_line: Callable[[str], None],
    on_progress: Callable[[DemoProgress], None],
    on_service: Callable[[str], None] = lambda address: None,
) -> Outcome:
    """Run the demo on the posts of a file.

    Args:
        posts_file: a file of JSON lines, CSV, TSV or text, by its suffix.
        data_dir: the folder of the demo, which is emptied first.
        keep: whether to leave the servers running.
        live: whether the posts come from a network on this machine, through `emostream ingest`.
        on_line: called with a line for each step.
        on_progress: called every `POLL_S` seconds with the progress.
        on_service: called in a thread with the address of the HTTP service, when all posts have arrived.

    Raises:
        InputError: The file cannot be read, or the folder does not belong to the demo.
        EmostreamError, ConnectorError, ModelError: A part does not work; the message says which.
    """
    began = time.monotonic()
    # The default settings have the limits of a post. Those with the addresses are made when the stack runs.
    posts, tally = read_posts(posts_file, Settings.model_construct())
    with fresh_stack(data_dir, on_line, keep=keep) as endpoints:
        cache = str(data_dir / "models")
        env = {
            **endpoints.as_env(),
            "EMOSTREAM_EMIT_INTERVAL_MS": "200",
            "EMOSTREAM_WEB_PORT": "0",
            "EMOSTREAM_SINK_WEB_PORT": "0",
            "EMOSTREAM_API_PORT": str(free_port(preferred=API_PORT)),
            # For a few hundred posts, one process with all cores is the fastest.
            "EMOSTREAM_WORKER_PROCESSES": "1",
            # The demo itself keeps the machine busy, and the sink must write nevertheless.
            "EMOSTREAM_SINK_CPU_PERCENT": "100",
            "EMOSTREAM_MODEL_CACHE": cache,
            **(ENVIRONMENT if live else {}),
        }
        settings = load_settings(env_file=None, environ=env)
        remember_secrets(settings.secrets())
        await asyncio.to_thread(init_all, settings, on_line)
        environment = clean_environment(env)
        logs = data_dir / "logs"
        with contextlib.ExitStack() as stack:
            worker = stack.enter_context(Role("worker", ["worker"], env=environment, log=logs / "worker.log"))
            sink = stack.enter_context(Role("sink", ["sink"], env=environment, log=logs / "sink.log"))
            service = Role("HTTP service", ["api"], env=environment, log=logs / "api.log")
            if not keep:
                stack.enter_context(service)
            on_line(
                f"worker (pid {worker.pid}), sink (pid {sink.pid}) and HTTP service (pid {service.pid}) started; "
                f"logs in {logs}"
            )
            source = None
            if live:
                source = LiveSource(settings, posts, env=environment, logs=logs, on_line=on_line)
                stack.enter_context(source)
            async with open_store(settings) as store:
                roles = [worker, sink, service]
                await _feed(settings, store, posts, source=source, roles=roles, on_progress=on_progress)
                checks = await audit_until_balanced(settings, store, lambda *_: None, timeout_s=AUDIT_TIMEOUT_S)
            statuses = await asyncio.to_thread(StatusReader(settings).read) if live else None
            await asyncio.to_thread(_wait_until_listening, service, settings.api_port)
            await asyncio.to_thread(on_service, f"http://{settings.api_host}:{settings.api_port}")
        chart = data_dir / "emotions_by_keyword.png"
        _draw(settings, chart, posts_file)
        workbook = data_dir / "emostream.twb"
        write_workbook(settings.postgres_dsn.get_secret_value(), workbook)
    return Outcome(checks, chart, workbook, tally.describe(), time.monotonic() - began, statuses, service.pid)


async def _feed(
    settings: Settings,
    store: WindowStore,
    posts: list[Post],
    *,
    source: LiveSource | None,
    roles: list[Role],
    on_progress: Callable[[DemoProgress], None],
) -> None:
    """Send the posts, and report the progress until all have arrived, or nothing has changed for `STALL_S` seconds."""
    needed = max(SLOWEST_RATE, len(posts) / FEED_S)
    rate = needed if needed <= FASTEST_RATE else None
    progress = DemoProgress(total=len(posts))
    reader = OffsetReader(kafka_config(settings), group="emostream-demo")
    progress_reader = ProgressReader(settings, store, reader)

    def send() -> None:
        if source is None:
            send_posts(settings, posts, rate=rate)
        else:
            source.send(rate)

    feeding = asyncio.ensure_future(asyncio.to_thread(send))
    changed = time.monotonic()
    try:
        while not (feeding.done() and _all_arrived(progress)):
            await asyncio.sleep(POLL_S)
            for role in roles:
                role.check()
            if source is not None:
                source.check()
            windows = await progress_reader.windows()
            progress.produced = await asyncio.to_thread(progress_reader.produced)
            counts = await asyncio.to_thread(progress_reader.counts, windows)
            if counts != progress.counts or not feeding.done():
                changed = time.monotonic()
            progress.counts, progress.windows = counts, windows
            on_progress(progress)
            if time.monotonic() - changed > STALL_S:
                break
        await feeding
    finally:
        feeding.cancel()
        reader.close()


def _wait_until_listening(service: Role, port: int) -> None:
    """Wait until the HTTP service accepts connections.

    Raises:
        EmostreamError: It ended, or did not load its model within `STALL_S` seconds.
    """
    until = time.monotonic() + STALL_S
    while not accepts(port, POLL_S):
        service.check()
        if time.monotonic() > until:
            raise EmostreamError(f"the HTTP service does not listen after {STALL_S:.0f} s (log: {service.log})")
        time.sleep(POLL_S)


def _all_arrived(progress: DemoProgress) -> bool:
    counts = progress.counts
    done = counts.classified + counts.dead >= progress.total
    return done and counts.in_windows >= counts.classified and counts.in_postgres >= counts.classified


def _draw(settings: Settings, chart: Path, posts_file: Path) -> None:
    from streams.ops.bi.share_chart import draw_shares  # noqa: PLC0415 - loads matplotlib
    from streams.ops.demo.chart import read_shares  # noqa: PLC0415 - loads matplotlib

    size = settings.window_sizes[0].seconds
    shares = read_shares(settings.postgres_dsn.get_secret_value(), size)
    draw_shares(shares, chart, subtitle=f"{posts_file.name}, {format_duration(size)} windows, from Postgres")
