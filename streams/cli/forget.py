"""`emostream forget`: erases posts, or all posts of accounts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from streams.cli.common import FiniteFloatRange, confirm, read_settings
from streams.cli.output import printable, printable_json
from streams.wording import counted

if TYPE_CHECKING:
    from streams.ops.forget import Forgotten


@click.command(
    epilog="Exit code: 0 if the deletions are in Kafka, and with --wait applied; 1 on an error, or if the sink has not "
    "applied them in time.",
)
@click.option(
    "--id", "ids", metavar="ID", multiple=True, help="Id of a post, such as mastodon:example.org/1. May be repeated."
)
@click.option(
    "--author", "authors", metavar="NAME", multiple=True, help="Account, as its network names it. May be repeated."
)
@click.option("--source", metavar="KIND", help="The network of --author, such as bluesky.")
@click.option("--as-stored", is_flag=True, help="NAME is the author as posts have it: do not hash it.")
@click.option(
    "--wait",
    "wait_s",
    type=FiniteFloatRange(min=0),
    metavar="SECONDS",
    help="Wait until the sink has applied the deletions, for this time at most.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def forget(
    *,
    ids: tuple[str, ...],
    authors: tuple[str, ...],
    source: str | None,
    as_stored: bool,
    wait_s: float | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Erase posts, or all posts that an account has written until now.

    The text, the author and the URL are erased from Postgres; labels and all counts stay. The command writes deletions
    to Kafka, as sources do when a network announces one, and the sink applies them at its next flush. A post that comes
    later, from Kafka or a backfill, is stored without them. This cannot be undone.

    Copies stay in posts.raw and posts.classified until Kafka deletes them: EMOSTREAM_RETENTION_HOURS, and up to a week
    longer. NAME is hashed with EMOSTREAM_AUTHOR_KEY, as in posts.

    \b
    Examples:
      emostream forget --id mastodon:example.org/113240023948 --wait 60
      emostream forget --author did:plc:ewvi7nxzyoun6zhxrhs64oiz --source bluesky
      emostream forget --author "Ann Lee" --source people.csv --as-stored
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if not ids and not authors:
        raise click.UsageError("give --id or --author")
    if authors and source is None:
        raise click.UsageError("--author needs --source, because two networks may have the same names")
    if not authors and (source is not None or as_stored):
        raise click.UsageError("--source and --as-stored belong to --author")
    from streams.ops.forget import deletions_of  # noqa: PLC0415 - loads the client libraries
    from streams.ops.forget import forget as send  # noqa: PLC0415

    settings = read_settings()
    deletions = deletions_of(settings, ids, authors, source, as_stored=as_stored)
    if not yes:
        named = ", ".join(printable(name) for name in (*ids, *authors)[:3])
        more = ", …" if len(ids) + len(authors) > 3 else ""
        confirm(f"Erase the posts of {named}{more} for good?", otherwise="nothing was erased")
    done = send(settings, deletions, wait_s=wait_s)
    click.echo(_as_json(done) if as_json else _line(done, settings.topic_deletions))
    return 1 if done.applied is False else 0


def _line(done: Forgotten, topic: str) -> str:
    sent = f"{counted(len(done.deletions), 'deletion')} sent to {topic}"
    if done.applied is None:
        return f"{sent}; the sink erases the posts at its next flush"
    if not done.applied:
        return f"{sent}; the sink has not applied them yet{f' ({done.why})' if done.why else ''}"
    return f"{sent} and applied: {counted(done.rows or 0, 'row')} erased"


def _as_json(done: Forgotten) -> str:
    deletions = [json.loads(record.to_json()) for record in done.deletions]
    document = {"deletions": deletions, "applied": done.applied, "rows": done.rows}
    return printable_json(json.dumps(document, ensure_ascii=False))
