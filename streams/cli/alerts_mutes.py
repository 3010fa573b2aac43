"""`emostream alerts mute`, `unmute` and `mutes`: incidents of which no channel is told for a while."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from streams.cli.alerts_words import KeywordType, RuleIdType, SpanType, keyword_name, minute_of, time_of
from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.wording import counted

if TYPE_CHECKING:
    from streams.alerts.storage.stored import Mute

_RULE = click.argument("rule", required=False, type=RuleIdType())
_KEYWORD = click.option("--keyword", type=KeywordType(), metavar="K", help="Only this keyword; * for all posts.")


@click.command()
@_RULE
@_KEYWORD
@click.option("--for", "span", type=SpanType(), metavar="SPAN", required=True, help="For how long: 30m, 2h, 7d.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the others.")
def mute(*, rule: str | None, keyword: str | None, span: timedelta, reason: str) -> None:
    """Tell no channel of incidents of RULE, of a keyword, or of a keyword of RULE, for a while.

    Incidents that begin meanwhile are recorded, and go to the topic, marked as muted. The end of one that was told is
    still told.

    \b
    Examples:
      emostream alerts mute brand-anger --for 2h --reason "known, see ticket 412"
      emostream alerts mute --keyword coffee --for 7d
      emostream alerts mute sudden-volume --keyword coffee --for 30m
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.manage import with_connection  # noqa: PLC0415
    from streams.alerts.storage import changes  # noqa: PLC0415 - loads the client library
    from streams.errors import InputError  # noqa: PLC0415

    _check(rule, keyword)
    reason = reason.strip()
    if len(reason) > changes.MAX_MUTE_REASON_CHARS or not (reason or "-").isprintable():
        raise InputError(f"the reason has at most {changes.MAX_MUTE_REASON_CHARS} printable characters")
    until = datetime.now(UTC) + span
    made = with_connection(
        read_settings(),
        "storing a mute",
        lambda connection: changes.add_mute(connection, rule=rule, keyword=keyword, until=until, reason=reason),
    )
    click.echo(f"muted {_subject(made)} until {minute_of(made.until)}")


@click.command()
@_RULE
@_KEYWORD
def unmute(*, rule: str | None, keyword: str | None) -> None:
    """End the mutes of exactly RULE, of a keyword, or of a keyword of RULE.

    \b
    Examples:
      emostream alerts unmute brand-anger
      emostream alerts unmute --keyword coffee
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.manage import with_connection  # noqa: PLC0415 - loads the client library
    from streams.alerts.storage.store import end_mutes  # noqa: PLC0415
    from streams.errors import InputError  # noqa: PLC0415

    _check(rule, keyword)
    ended = with_connection(
        read_settings(), "ending a mute", lambda connection: end_mutes(connection, rule=rule, keyword=keyword)
    )
    if not ended:
        raise InputError("there is no such mute; `emostream alerts mutes` shows those that there are")
    click.echo(f"ended {counted(len(ended), 'mute')} of {_subject(ended[0])}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def mutes(*, as_json: bool) -> None:
    """List the mutes that hold now.

    \b
    Example:
      emostream alerts mutes
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.manage import with_connection  # noqa: PLC0415 - loads the client library
    from streams.alerts.storage.store import read_mutes  # noqa: PLC0415

    found = with_connection(read_settings(), "reading the mutes", read_mutes)
    with quiet_pipe():
        if as_json:
            document = {"mutes": [_document(one) for one in found]}
            click.echo(printable_json(json.dumps(document, ensure_ascii=False)))
        elif found:
            console().print(_table(found))
        else:
            progress_console().print("nothing is muted")


def _check(rule: str | None, keyword: str | None) -> None:
    if rule is None and keyword is None:
        raise click.UsageError("give RULE, --keyword or both")


def _subject(mute: Mute) -> str:
    keyword = None if mute.keyword is None else keyword_name(mute.keyword)
    if mute.rule is None:
        return f"keyword {keyword}"
    return f"rule {mute.rule}" if keyword is None else f"keyword {keyword} of rule {mute.rule}"


def _table(found: list[Mute]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("rule", "keyword", "until", "reason"):
        table.add_column(column, overflow="fold")
    for one in found:
        keyword = "every" if one.keyword is None else keyword_name(one.keyword)
        table.add_row(one.rule or "every", escape(keyword), minute_of(one.until), escape(printable(one.reason)))
    return table


def _document(mute: Mute) -> dict[str, Any]:
    return {
        "id": mute.id,
        "rule": mute.rule,
        "keyword": mute.keyword,
        "until": time_of(mute.until),
        "reason": mute.reason,
        "created_at": time_of(mute.created_at),
    }
