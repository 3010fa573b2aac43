"""Measures how many posts a second one core takes from Bluesky's Jetstream to Kafka, beside decoding them.

    python benchmarks/bench_jetstream.py --data DATA
    python benchmarks/bench_jetstream.py --data DATA --posts 1000000 --rounds 1 --json jetstream.json

It starts its own Kafka, and a server that sends compressed frames as those of Bluesky as fast as they are read. The
texts are the English validation posts. Each round measures three things on the same frames, in processor time:

1. *ingesting*: one process of `emostream ingest bluesky` receives the frames, decompresses and parses them, searches
   the posts for all keywords, and sends every post to Kafka, which confirms it.
2. *reading*: the same source alone, in a process of its own. Its posts are counted and dropped.
3. *decoding*: zstd and JSON by the same libraries, from a list in memory. Nothing is received, and nothing is made.

Rates are posts a second of processor time, so what one core can do if Kafka and the server have others. Ratios are
taken within a round. Each round must have every post in Kafka once.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import msgspec

from benchmarks.bench_frontier import DEFAULT_DATA, describe_machine
from benchmarks.bench_keywords import draw_keywords, read_groups
from benchmarks.harness.broker import BenchmarkError, KafkaClient
from benchmarks.harness.options import data_option
from benchmarks.harness.program import CAN_PIN, Program, ProgramError, pin
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.stats import Spread, ratios
from benchmarks.harness.waiting import Stall, wait_until
from benchmarks.jetstream_frames import Frames, FrameServer
from connectors.errors import ConnectorError
from connectors.sources.bluesky import BlueskySource, Hosts
from connectors.sources.bluesky.frames import FrameDecoder
from connectors.sources.bluesky.source import MAX_EVENT_BYTES
from connectors.sources.events import SourcePost
from models.errors import ModelError
from streams.cli.common import console
from streams.errors import EmostreamError
from streams.ingest.keywords.store import add_keywords
from streams.ops.bench.meter import Meter
from streams.ops.demo.processes import clean_environment
from streams.ops.init import init_topics
from streams.process.signals import exit_on_signals
from streams.settings import load_settings

STEP_US = 1_000
"""Microseconds from one event to the next."""

START_S = 120.0
"""Seconds in which the ingester must connect."""

STALL_S = 120.0
"""Seconds without a new post in Kafka after which a round fails."""


@dataclass(frozen=True)
class Round:
    """What one round measured.

    Attributes:
        ingesting: Posts a second of processor time from the socket to Kafka.
        reading: The same for the source alone.
        decoding: The same for zstd and JSON alone.
        by_clock: Posts a second of the ingester by the clock.
        peak_mb: Largest memory of the ingester, in 10^6 bytes.
    """

    ingesting: float
    reading: float
    decoding: float
    by_clock: float
    peak_mb: float


@dataclass(frozen=True)
class Ingested:
    """What one run of the ingester measured; see `Round`."""

    rate: float
    by_clock: float
    peak_mb: float


@dataclass(frozen=True)
class Result:
    """All rounds.

    Attributes:
        posts: The posts of a round.
        keywords: The keywords that each is searched for.
        rounds: The rounds.
    """

    posts: int
    keywords: int
    rounds: Sequence[Round]

    def spread(self, name: str) -> Spread:
        """Returns the spread of a figure of the rounds."""
        return Spread.of([getattr(one, name) for one in self.rounds])

    def ratio(self, to: str) -> Spread:
        """Returns the spread of ingesting as a ratio to another figure."""
        found = ratios(
            {number: one.ingesting for number, one in enumerate(self.rounds)},
            {number: getattr(one, to) for number, one in enumerate(self.rounds)},
        )
        if found is None:
            raise BenchmarkError("no round was measured")
        return found


def decode(frames: Frames) -> float:
    """Decompress and parse every message. Returns messages a second of processor time.

    Raises:
        BenchmarkError: A message cannot be decoded.
    """
    decompressed = FrameDecoder(frames.dictionary, max_bytes=MAX_EVENT_BYTES).decoded
    parse = msgspec.json.Decoder().decode
    began = time.process_time()
    decoded = sum("commit" in parse(decompressed(message) or b"{}") for message in frames.messages)
    seconds = time.process_time() - began
    if decoded != len(frames.messages):
        raise BenchmarkError(f"{decoded:,} of {len(frames.messages):,} messages were decoded")
    return decoded / seconds


def read_source(url: str, dictionary: bytes, count: int) -> float:
    """Read posts with the source alone. Returns posts a second of processor time of this process."""

    async def read() -> float:
        source = BlueskySource(Hosts([url]), allow_private=True, zstd_dictionary=dictionary)
        began, posts = time.process_time(), 0
        async with aclosing(source.stream(None)) as stream:
            async for positioned in stream:
                posts += isinstance(positioned.event, SourcePost)
                if posts == count:
                    break
        return posts / (time.process_time() - began)

    return asyncio.run(read())


def _read_pinned(url: str, dictionary: bytes, count: int, cores: Sequence[int]) -> float:
    pin(os.getpid(), cores)
    return read_source(url, dictionary, count)


def read(frames: Frames, cores: Cores) -> float:
    """Read the frames with the source alone, in a process of its own. Returns posts a second of processor time."""
    context = multiprocessing.get_context("spawn")
    with FrameServer(frames.messages) as server, context.Pool(1) as pool:
        answer = pool.apply_async(_read_pinned, (server.url, frames.dictionary, len(frames.messages), cores.system))
        if not server.connected.wait(START_S):
            raise BenchmarkError(f"the source has not connected after {START_S:.0f} s")
        server.go()
        return answer.get()


def ingest(frames: Frames, name: str, *, env: dict[str, str], folder: Path, cores: Cores) -> Ingested:
    """Run one ingester on the frames, as an instance of this name.

    Raises:
        BenchmarkError, ProgramError: The ingester has ended, or did not send every post once.
    """
    settings, count = load_settings(env_file=None, environ=env), len(frames.messages)
    (folder / "dictionary").write_bytes(frames.dictionary)
    with (
        closing(KafkaClient(settings.kafka_bootstrap, settings.partitions)) as kafka,
        FrameServer(frames.messages) as server,
    ):
        config = folder / f"{name}.toml"
        config.write_text(
            f"[{name}]\nsource = 'bluesky'\nendpoint = '{server.url}'\nallow_private = true\n"
            f"zstd_dictionary = '{folder / 'dictionary'}'\n"
        )
        program = Program(
            [sys.executable, "-m", "streams", "ingest", "--config", str(config), "--web-port", "0"],
            env=clean_environment(env),
            folder=folder,
            log=folder / f"{name}.log",
            cores=cores.system,
        )
        before = kafka.count(settings.topic_raw)
        with program, Meter({"ingest": program.pid}, alone=("ingest",)) as meter:
            if not wait_until(server.connected.is_set, START_S, program.check):
                raise BenchmarkError(f"the ingester has not connected after {START_S:.0f} s: {program.last_line()}")
            begin = time.time()
            server.go()
            stall = Stall(STALL_S)
            while (sent := kafka.count(settings.topic_raw) - before) < count:
                program.check()
                if stall.reached(sent):
                    raise BenchmarkError(f"{sent:,} of {count:,} posts are in Kafka, and no more come")
                time.sleep(0.1)
            end = time.time()
            time.sleep(1.0)  # a post that is sent twice would come now, and the meter takes its last samples
        if (sent := kafka.count(settings.topic_raw) - before) != count:
            raise BenchmarkError(f"{sent:,} posts are in Kafka, not {count:,}")
    rate = count / meter.cpu_s("ingest", begin, end)
    return Ingested(rate, count / (end - begin), meter.peak_bytes("ingest") / 1e6)


def measure(frames: Frames, keywords: Sequence[str], rounds: int, folder: Path, cores: Cores) -> Result:
    """Start Kafka, and measure all rounds."""
    with Servers(folder / "servers", cores) as servers:
        env = {**servers.endpoints.as_env(), "EMOSTREAM_UNMATCHED_POSTS": "keep"}
        settings = load_settings(env_file=None, environ=env)
        init_topics(settings, lambda line: None)
        add_keywords(settings, keywords)
        found = []
        for number in range(rounds):
            one = ingest(frames, f"round-{number}", env=env, folder=folder, cores=cores)
            found.append(Round(one.rate, read(frames, cores), decode(frames), one.by_clock, one.peak_mb))
    return Result(len(frames.messages), len(keywords), found)


def lines(result: Result) -> list[str]:
    """Returns the result as lines."""

    def rate(name: str) -> str:
        spread = result.spread(name)
        each = f"{1e6 / spread.median:.1f} µs a post"
        return f"{spread.median:,.0f} posts/s ({spread.low:,.0f} to {spread.high:,.0f}), {each}"

    return [
        f"ingesting, with {result.keywords:,} keywords: {rate('ingesting')}; by the clock "
        f"{result.spread('by_clock').median:,.0f} posts/s; at most {result.spread('peak_mb').high:.0f} MB",
        f"reading with the source alone: {rate('reading')}; ingesting is {result.ratio('reading').median:.2f} of it",
        f"decoding alone: {rate('decoding')}; ingesting is {result.ratio('decoding').median:.2f} of it",
    ]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option("--keywords", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="Keywords.")
@click.option("--posts", type=click.IntRange(min=1_000), default=200_000, show_default=True, help="Posts of a round.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, data: Path | None, keywords: int, posts: int, rounds: int, json_file: Path | None) -> None:
    """Measure how many posts a second one core takes from Jetstream to Kafka."""
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("no data sets in ../shared/data; give their folder: bench_jetstream.py --data DATA")
        return
    machine = describe_machine()
    allowed = os.sched_getaffinity(0) if CAN_PIN else ()
    cores = Cores.split(allowed, min(1, len(allowed) - 1)) if allowed else Cores()
    try:
        with exit_on_signals(), tempfile.TemporaryDirectory(prefix="emostream-bench-") as name:
            groups = read_groups(data or DEFAULT_DATA)
            drawn = draw_keywords([text for texts in groups.values() for text in texts], keywords)
            begin_us = int(time.time() * 1_000_000) - posts * STEP_US
            frames = Frames.make(groups["English"], posts, begin_us=begin_us, step_us=STEP_US)
            result = measure(frames, drawn, rounds, Path(name), cores)
    except (BenchmarkError, ConnectorError, EmostreamError, ModelError, ProgramError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if json_file is not None:
        content = {"machine": machine, "posts": posts, "keywords": len(drawn), "rounds": [*map(asdict, result.rounds)]}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    mean = sum(map(len, frames.messages)) / posts
    console().print(f"{posts:,} posts of {frames.plain_bytes / posts:.0f} bytes, {mean:.0f} compressed", soft_wrap=True)
    for line in lines(result):
        console().print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
