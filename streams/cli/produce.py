"""`emostream produce`: sends posts from a file or standard input to the raw topic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
from rich.console import Console

from streams.cli.common import INTERRUPTED, FiniteFloatRange, progress_console, read_settings
from streams.cli.inputs import InputOptions, input_options, print_refusals, progress_bar
from streams.ingest.lines import STDIN, size_of
from streams.ingest.posts import PostMaker, source_name
from streams.ingest.produce import PostSender, paced, post_sender
from streams.ingest.rounds import RoundReader
from streams.ingest.rows import InputFormat
from streams.ingest.tally import Tally
from streams.process.signals import GracefulInterrupt
from streams.records import Post
from streams.settings import Settings
from streams.wording import counted


@dataclass
class Summary:
    """What a run has sent so far; `sender` is None until Kafka has answered."""

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
        """Posts that were handed to the Kafka client and that Kafka has not confirmed; some may have arrived."""
        return self.sender.unconfirmed if self.sender is not None else 0

    def show(self, console: Console, tally: Tally) -> None:
        """Print the summary for people."""
        rate = f", {self.sent / self.seconds:,.0f}/s" if self.seconds >= 1 and self.sent >= 10 else ""
        console.print(f"sent {counted(self.sent, 'post')} to {self.topic} in {self.seconds:.1f} s{rate}")
        if self.unconfirmed:
            console.print(f"not confirmed: {counted(self.unconfirmed, 'post')}", style="red")
        print_refusals(console, tally)

    def as_json(self, tally: Tally) -> dict[str, Any]:
        """Returns the summary as a JSON document."""
        return {
            "topic": self.topic,
            "sent": self.sent,
            "unconfirmed": self.unconfirmed,
            "refused": tally.total,
            "passed_over": tally.passed_over,
            "cleaned": tally.cleaned,
            "refusals": tally.as_json(),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
        }


@click.command(
    epilog="Exit code: 0 if every accepted row was sent; 1 on an error, or with --strict if a row was refused; 130 "
    "after Ctrl-C.",
)
@input_options(InputFormat.JSONL)
@click.option(
    "--source", metavar="NAME", show_default="the name of FILE, or stdin", help="Source of posts that have none."
)
@click.option("--keyword", "keywords", metavar="K", multiple=True, help="Add keyword K to every post. May be repeated.")
@click.option("--now", "restamp", is_flag=True, help="Set created_at of every post to the current time.")
@click.option("--rate", type=FiniteFloatRange(min=0, min_open=True), metavar="N", help="Send at most N posts a second.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N posts.")
@click.option("--loop", is_flag=True, help="Send the file repeatedly, with new ids in each round, until Ctrl-C.")
@click.option("--count", "rounds", type=click.IntRange(min=1), metavar="N", help="With --loop: stop after N rounds.")
@click.option("--strict", is_flag=True, help="Exit with 1 if a row was refused. The other rows are sent.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def produce(
    *,
    options: InputOptions,
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
    """Send the posts in FILE, or from standard input (-), to the raw topic.

    Waits until Kafka has confirmed every post, and prints on stderr how many were sent. A post without an id gets one
    that is new in every run, without created_at the current time, and without a source the name of FILE. A row that
    cannot be a post is refused: the summary names its line and the reason, and the other rows are sent.

    \b
    Examples:
      emostream produce posts.jsonl
      emostream produce tweets.csv --map text=tweet --keyword coffee
      emostream produce jetstream.jsonl.zst --shape jetstream
      some-source | emostream produce - --format text --source mine
      emostream produce posts.jsonl --loop --rate 500
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if rounds is not None and not loop:
        raise click.UsageError("--count needs --loop")
    if loop and options.file == STDIN:
        raise click.UsageError("--loop needs a file, because standard input can be read only once")
    settings = read_settings()
    spec = options.spec(settings, times=not restamp)
    maker = PostMaker(source=source or source_name(options.file), keywords=keywords)
    reader = RoundReader(options.file, spec, maker, rounds=rounds if loop else 1)
    summary = Summary(settings.topic_raw)
    console = progress_console()
    try:
        _run(settings, reader, summary, console, rate=rate, limit=limit)
    except BaseException:
        # The command line prints the error. The summary says what was done before it.
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
    """Send the posts with a progress bar, and fill in the summary, also if sending fails."""
    size = size_of(reader.file)  # checks the file before the first connection to Kafka
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
