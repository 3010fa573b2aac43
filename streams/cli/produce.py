"""`emostream produce`: send posts from a file or standard input to the raw topic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
from rich.console import Console

from streams.cli.common import progress_console, read_settings
from streams.cli.inputs import input_options, input_spec, print_refusals, progress_bar
from streams.ingest.lines import STDIN, size_of
from streams.ingest.posts import PostMaker, source_name
from streams.ingest.produce import PostSender, paced, post_sender
from streams.ingest.rounds import RoundReader
from streams.ingest.rows import InputFormat
from streams.ingest.tally import Tally
from streams.process.signals import GracefulInterrupt
from streams.records import Post
from streams.settings import Settings

INTERRUPTED = 130


@dataclass
class Summary:
    """What came of it."""

    topic: str
    sender: PostSender | None = None
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def sent(self) -> int:
        """Posts that Kafka has confirmed."""
        return self.sender.sent if self.sender is not None else 0

    @property
    def unconfirmed(self) -> int:
        """Posts handed over of which it is not known whether they arrived."""
        return self.sender.unconfirmed if self.sender is not None else 0

    def show(self, console: Console, tally: Tally) -> None:
        """For people."""
        rate = f", {self.sent / self.seconds:,.0f}/s" if self.seconds >= 1 and self.sent >= 10 else ""
        console.print(
            f"sent {self.sent:,} {'post' if self.sent == 1 else 'posts'} to {self.topic} in {self.seconds:.1f} s{rate}"
        )
        if self.unconfirmed:
            console.print(f"not confirmed: {self.unconfirmed:,} posts", style="red")
        print_refusals(console, tally)

    def as_json(self, tally: Tally) -> dict[str, Any]:
        """For machines."""
        return {
            "topic": self.topic,
            "sent": self.sent,
            "unconfirmed": self.unconfirmed,
            "refused": tally.total,
            "refusals": tally.as_json(),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
        }


@click.command(
    short_help="Send posts from a file to Kafka.",
    epilog="Exit code: 0 if all that could be read was sent; 1 on an error, or a refused row with --strict; 130 after "
    "Ctrl-C.",
)
@input_options(InputFormat.JSONL)
@click.option("--source", metavar="NAME", help="Source of posts that name none. Default: the file's name, or stdin.")
@click.option("--keyword", "keywords", metavar="K", multiple=True, help="Add this keyword to every post; repeatable.")
@click.option("--now", "restamp", is_flag=True, help="Set created_at to the present, whatever the input says.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Posts a second at most.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N posts.")
@click.option("--loop", is_flag=True, help="Send the file again and again, with new ids, until Ctrl-C.")
@click.option("--count", "rounds", type=click.IntRange(min=1), metavar="N", help="With --loop: how many rounds.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any row was refused; the others are sent all the same.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def produce(
    *,
    file: str,
    input_format: str | None,
    columns: dict[str, str],
    header: bool | None,
    source: str | None,
    keywords: tuple[str, ...],
    restamp: bool,
    rate: float | None,
    limit: int | None,
    loop: bool,
    rounds: int | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Send the posts in FILE, or from standard input (-), to the raw topic; every delivery is confirmed.

    What a post lacks is filled in: an id (new in every run), created_at (now), source (the file's name). A row that
    cannot be a post is refused with its line number and the reason, and the rest is sent.

    \b
      emostream produce posts.jsonl
      emostream produce tweets.csv --column text=tweet --keyword coffee
      some-source | emostream produce - --format text --source mine
      emostream produce posts.jsonl --loop --rate 500
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if rounds is not None and not loop:
        raise click.UsageError("--count needs --loop")
    if loop and file == STDIN:
        raise click.UsageError("--loop needs a file: standard input can be read once only")
    settings = read_settings()
    spec = input_spec(
        file,
        input_format,
        columns,
        header,
        stdin_format=InputFormat.JSONL,
        text_max_chars=settings.text_max_chars,
    )
    maker = PostMaker(source=source or source_name(file), keywords=keywords, restamp=restamp)
    reader = RoundReader(file, spec, maker, rounds=rounds if loop else 1)
    summary = Summary(settings.topic_raw)
    console = progress_console()
    try:
        _run(settings, reader, summary, console, rate=rate, limit=limit)
    except BaseException:
        # The error is the command line's to report; what was done before it is told here.
        if summary.sent or summary.unconfirmed:
            summary.show(console, reader.tally)
        else:
            print_refusals(console, reader.tally)
        raise
    if as_json:
        click.echo(json.dumps(summary.as_json(reader.tally)))
    else:
        summary.show(console, reader.tally)
    if summary.interrupted:
        return INTERRUPTED
    return 1 if strict and reader.tally.total else 0


def _run(
    settings: Settings,
    reader: RoundReader,
    summary: Summary,
    console: Console,
    *,
    rate: float | None,
    limit: int | None,
) -> None:
    """Send the posts, with a progress bar; fills in the summary, also where it fails."""
    size = size_of(reader.file)  # before anything else: a file that is not there needs no broker
    started = time.monotonic()
    total = limit or (size if reader.rounds == 1 else None)

    def on_sent(_confirmed: int) -> None:
        bar.set(summary.sent if limit else reader.position, summary.sent)

    posts: Iterable[Post] = islice(reader.posts(), limit)
    if rate is not None:
        posts = paced(posts, rate)
    with (
        GracefulInterrupt() as interrupt,
        progress_bar(console, "sent", total, show=True) as bar,
        post_sender(settings, on_sent=on_sent) as sender,
    ):
        summary.sender = sender
        try:
            for post in interrupt.until_stopped(posts):
                sender.send(post)
            sender.finish()
        finally:
            summary.seconds = time.monotonic() - started
            summary.interrupted = interrupt.stopped
