"""`emostream keywords`: adds, removes and lists the keywords that sources search posts for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from streams.cli.common import progress_console, read_settings
from streams.cli.output import printable_json, printable_name, quiet_pipe
from streams.wording import counted

F = TypeVar("F", bound=Callable[..., Any])


def _given(command: F) -> F:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--file", metavar="FILE|-", help="A file in UTF-8 with a keyword a line; - for standard input."),
        click.argument("given", metavar="[KEYWORD]...", nargs=-1),
    ):
        command = option(command)
    return command


@click.group()
def keywords() -> None:
    """Add, remove and list the keywords that sources search posts for.

    Every running source follows a change within seconds. Case, width and invisible characters make no difference:
    the keyword iphone is found in iPhone. In scripts with spaces a keyword is found as a whole word, in Chinese,
    Japanese, Thai and the like anywhere. Every character stands for itself: there are no wildcards.

    \b
    Example:
      emostream keywords add iPhone "Galaxy S24" 好用
      emostream keywords list
      emostream keywords remove iphone
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


@keywords.command()
@_given
def add(*, given: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Add keywords. One that is there already stays as it is.

    Posts are counted under a keyword as it was added. To change its spelling, remove it and add it again. If one of
    the given keywords is refused, none is added. `--` ends the options, for a keyword that begins with a hyphen.

    \b
    Examples:
      emostream keywords add iPhone "Galaxy S24"
      emostream keywords add --file keywords.txt
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ingest.keywords.given import given_keywords  # noqa: PLC0415 - loads the Kafka client
    from streams.ingest.keywords.store import add_keywords  # noqa: PLC0415

    done = add_keywords(read_settings(), given_keywords(given, file))
    if as_json:
        _print_json({"added": done.added, "present": done.present, "total": done.total})
        return
    there = f"; {len(done.present):,} there already ({_named(done.present)})" if done.present else ""
    click.echo(f"added {counted(len(done.added), 'keyword')}{there}; now there are {done.total:,}")


@keywords.command()
@_given
def remove(*, given: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Remove keywords, in whatever case they are written.

    If one of them is not there, none is removed. What was counted under a keyword stays.

    \b
    Examples:
      emostream keywords remove iphone
      emostream keywords list | emostream keywords remove --file -
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ingest.keywords.given import given_keywords  # noqa: PLC0415 - loads the Kafka client
    from streams.ingest.keywords.store import remove_keywords  # noqa: PLC0415

    done = remove_keywords(read_settings(), given_keywords(given, file))
    if as_json:
        _print_json({"removed": done.removed, "total": done.total})
        return
    click.echo(f"removed {counted(len(done.removed), 'keyword')}; now there are {done.total:,}")


@keywords.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the times at which they were added.")
def list_keywords(*, as_json: bool) -> None:
    """List the keywords, one a line, in the order of their folded forms.

    \b
    Example:
      emostream keywords list --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ingest.keywords.store import read_keywords  # noqa: PLC0415 - loads the Kafka client

    found = read_keywords(read_settings())
    records = [found.by_fold[folded] for folded in sorted(found.by_fold)]
    if found.refused:
        notes = progress_console()
        notes.print(f"{counted(found.refused, 'record')} in the topic cannot be a keyword", style="yellow")
    with quiet_pipe():
        if as_json:
            listed = [{"keyword": one.keyword, "added_at": one.added_at.rfc3339()} for one in records]
            _print_json({"keywords": listed, "refused": found.refused})
            return
        for one in records:
            click.echo(printable_name(one.keyword))


def _named(words: Sequence[str]) -> str:
    shown = ", ".join(printable_name(word) for word in words[:3])
    return f"{shown}, …" if len(words) > 3 else shown


def _print_json(document: dict[str, Any]) -> None:
    click.echo(printable_json(json.dumps(document, ensure_ascii=False)))
