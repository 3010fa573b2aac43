"""`emostream windows`: shows the windows in Redis; its commands rebuild and republish them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.cli.common import console, progress_console, read_settings
from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable_name
from streams.cli.windows_rebuild import rebuild
from streams.window_sizes import format_duration, parse_duration

if TYPE_CHECKING:
    from streams.records import EmotionWindow
    from streams.settings import Settings
    from streams.windows.reader import WindowReader


class _SizeType(click.ParamType):
    """A window size as a duration such as `5m`, in seconds; `all` is 0."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return 0 if value == "all" else parse_duration(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class _KeywordType(click.ParamType):
    """A keyword that a window can have."""

    name = "keyword"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("a keyword has at least one character", param, ctx)
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail("the keyword is not UTF-8", param, ctx)
        return value


@click.group(invoke_without_command=True)
@click.option(
    "--keyword",
    type=_KeywordType(),
    metavar="K",
    help="Show windows of keyword K only; * is the keyword of all posts together.",
)
@click.option(
    "--size",
    type=_SizeType(),
    metavar="SIZE",
    show_default="the shortest size",
    help="Show windows of this size, such as 1m or 1h; `all` for every size.",
)
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the sum of the last N windows of each keyword, most posts first.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Show at most N windows."
)
@click.option("--follow", is_flag=True, help="Refresh once a second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, as in the windows topic.")
@click.pass_context
def windows(
    ctx: click.Context,
    *,
    keyword: str | None,
    size: int | None,
    last: int | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the emotion windows in Redis, latest first.

    Prints a table with the posts of each window and the share of each label. A dot after the time marks a window that
    is still open. Posts in languages that no model reads are unsupported, and have a column of their own. The column
    `mood` is the mean sentiment, from -1 to 1, if the model has sentiment. With --follow, a file or a pipe gets a line
    for each new state of a window instead. With --last the windows slide: `--size 1m --last 15` is the quarter of an
    hour that ends with the latest minute that has a post. A dot then says that one of the windows in the sum is still
    open.

    \b
    Examples:
      emostream windows
      emostream windows --keyword coffee --size 1h
      emostream windows --size 1m --last 15 --follow
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if ctx.invoked_subcommand is not None:
        return
    settings = read_settings()
    sizes = [known.seconds for known in settings.window_sizes]
    if size is None:
        size = sizes[0]
    if size and size not in sizes:
        known = ", ".join(map(format_duration, sizes))
        raise click.BadParameter(
            f"there are no windows of {format_duration(size)}; the sizes are {known}", param_hint="--size"
        )
    if last and not size:
        raise click.UsageError("--last sums windows of one size; give a --size other than `all`")
    view = _View(keyword, size or None, last, limit)
    asyncio.run(_show(settings, view, follow=follow, as_json=as_json))


@dataclass(frozen=True)
class _View:
    """Which windows to show. None means no restriction; a `last` of None means no sums."""

    keyword: str | None
    size: int | None
    last: int | None
    limit: int

    @property
    def nothing(self) -> str:
        """What to print if there are none."""
        return "no windows yet" if self.keyword is None else f"no windows of the keyword {printable_name(self.keyword)}"

    async def read(self, store: WindowReader) -> list[EmotionWindow]:
        await store.refresh()
        if self.size is not None and self.last is not None:
            return await store.sliding(self.size, self.last, keyword=self.keyword, limit=self.limit)
        return await store.read(keyword=self.keyword, size=self.size, limit=self.limit)


@windows.command(short_help="Ask the workers to publish every window again.")
def republish() -> None:
    """Ask the workers to publish every window in Redis again.

    Writes a command to the control topic. The workers then write each window to the windows topic, under its current
    revision. Use it if records of the windows topic were lost.

    \b
    Example:
      emostream windows republish
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ops.republish import request_republish  # noqa: PLC0415 - loads the client library

    request_republish(read_settings())
    click.echo("asked the workers to publish every window again")


windows.add_command(rebuild)


async def _show(settings: Settings, view: _View, *, follow: bool, as_json: bool) -> None:
    from streams.windows.connect import open_store  # noqa: PLC0415 - loads the client library

    async with open_store(settings) as store:
        if follow:
            await _follow(store, view, as_json=as_json)
            return
        found = await view.read(store)
    if as_json:
        for window in found:
            click.echo(window.to_json())
    elif found:
        out = console()
        out.print(_table(found, out))
    else:
        progress_console().print(view.nothing, markup=False)


async def _follow(store: WindowReader, view: _View, *, as_json: bool) -> None:
    """Show the windows anew each second. If they go to a file or a pipe, print each new state of a window as a line."""
    out = console()
    if out.is_terminal and not as_json:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                found = await view.read(store)
                live.update(_table(found, out) if found else Text(view.nothing), refresh=True)
                await asyncio.sleep(1)
    show = _line_printer(out, as_json=as_json)
    shown: dict[str, int] = {}
    if not await view.read(store):
        progress_console().print(view.nothing, markup=False)
    while True:
        found = await view.read(store)
        for window in reversed(found):
            if shown.get(window.key) != window.revision:
                show(window)
        shown = {window.key: window.revision for window in found}  # only those of the view, so it does not grow
        await asyncio.sleep(1)


def _line_printer(out: Console, *, as_json: bool) -> Callable[[EmotionWindow], None]:
    from streams.cli.render import window_text  # noqa: PLC0415 - loads the client library

    if as_json:
        return lambda window: click.echo(window.to_json())
    styles = LabelStyles(out)
    return lambda window: out.print(window_text(window, styles), soft_wrap=True)


def _table(found: list[EmotionWindow], out: Console) -> Table:
    from streams.cli.window_table import windows_table  # noqa: PLC0415

    return windows_table(found, out)
