"""`emostream query`: asks the HTTP service what people feel about a keyword."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from streams.cli.api_client import KeywordType, api_options, opened_client
from streams.cli.common import console
from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable, printable_json, printable_name
from streams.cli.render import sentiment_text
from streams.errors import InputError
from streams.timestamps import Timestamp
from streams.wording import counted

if TYPE_CHECKING:
    from api.models.query import PlotKind, QueryAnswer

_BAR_CELLS = 30


class _Time(click.ParamType):
    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return Timestamp.parse(str(value))
        except ValueError as exc:
            self.fail(f"{value!r} {exc}", param, ctx)


@click.command(epilog="Exit code: 0, also if there are no posts; 1 on an error.")
@click.argument("keyword", type=KeywordType())
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=250,
    show_default=True,
    metavar="N",
    help="With fewer posts than N in the windows, sources are searched for more.",
)
@click.option("--since", type=_Time(), help="Begin at this time (RFC 3339); by default 24 hours ago.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE",
    help="Write a picture of the answer to this file, which ends in .png or .svg.",
)
@click.option(
    "--kind", type=click.Choice(["pie", "bar"]), default="pie", show_default=True, help="The kind of the picture."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one line of JSON.")
@api_options
def query(
    *,
    keyword: str,
    limit: int,
    since: datetime | None,
    plot: Path | None,
    kind: PlotKind,
    as_json: bool,
    url: str | None,
) -> None:
    """Ask what people feel about KEYWORD.

    The HTTP service (`emostream api`) answers. KEYWORD is taken literally; * stands for all posts. Without --since, the
    answer is about the last 24 hours. It says where it comes from: the cache, the windows in Redis, the history in
    Postgres, or posts that were fetched and classified for it.

    \b
    Examples:
      emostream query coffee
      emostream query coffee --since 2026-03-01T00:00:00Z --plot coffee.png
      emostream query '*' --json | jq .sentiment.mean
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if plot is not None and plot.suffix not in {".png", ".svg"}:
        raise InputError(f"--plot: {plot}: the name must end in .png or .svg")
    with opened_client(url) as client:
        answer = client.query(
            keyword,
            limit=limit,
            since=since,
            return_plot=plot is not None,
            plot_kind=kind,
            plot_format="svg" if plot is not None and plot.suffix == ".svg" else "png",
        )
    if plot is not None and answer.plot_base64 is not None:
        try:
            plot.write_bytes(base64.b64decode(answer.plot_base64))
        except OSError as exc:
            raise InputError(f"{plot}: cannot be written: {exc.strerror}") from exc
    if as_json:
        click.echo(printable_json(answer.model_dump_json(exclude={"plot_base64"})))
    else:
        show(answer, console())


def show(answer: QueryAnswer, out: Console) -> None:
    """Print an answer for people: a line for each label, and what the reader should know."""
    styles = LabelStyles(out, (row.label for row in answer.agg))
    head = f"{printable_name(answer.keyword)}: {counted(answer.count, 'post')}"
    if answer.sentiment is not None:
        head += f", sentiment {sentiment_text(answer.sentiment.mean)}"
    out.print(Text(head, style="bold"), soft_wrap=True)
    if answer.count:
        width = max((len(printable(row.label)) for row in answer.agg), default=0)
        for row in sorted(answer.agg, key=lambda row: -row.pct):
            bar = "█" * round(min(max(row.pct / 100, 0), 1) * _BAR_CELLS)
            score = "" if row.avg_score is None else f"  confidence {row.avg_score:.2f}"
            line = Text.assemble(
                f"  {printable(row.label):{width}} {row.pct:6.2f} % ",
                (f"{bar:{_BAR_CELLS}}", styles.of(row.label)),
                score,
            )
            line.rstrip()
            out.print(line, soft_wrap=True)
    if answer.unsupported:
        out.print(f"  and {counted(answer.unsupported, 'post')} in languages that no model reads", style="dim")
    until = "?" if answer.as_of is None else f"{answer.as_of:%Y-%m-%d %H:%M}Z"
    span = f"{answer.since:%Y-%m-%d %H:%M}Z to {until}"
    out.print(f"  {span}, from {answer.source}, in {answer.time * 1_000:.1f} ms", style="dim", soft_wrap=True)
    for note in answer.notes:
        out.print(Text(f"  note: {printable(note)}", style="yellow"), soft_wrap=True)
