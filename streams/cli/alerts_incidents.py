"""`emostream alerts list` and `show`: the incidents that the rules have found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from streams.cli.alerts_words import KeywordType, RuleIdType, SpanType, keyword_name, minute_of, summary_of, time_of
from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable, printable_json, quiet_pipe

if TYPE_CHECKING:
    from streams.alerts.storage.stored import Delivery, Incident

_WORDS = 12
"""The most words that are shown of an incident."""


@click.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only incidents that have not ended.")
@click.option("--since", type=SpanType(), metavar="SPAN", help="Only those that were decided in the last SPAN: 2h, 7d.")
@click.option("--rule", type=RuleIdType(), metavar="ID", help="Only those of this rule.")
@click.option("--keyword", type=KeywordType(), metavar="K", help="Only those of this keyword; * for all posts.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Show at most N incidents.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the whole reasons.")
def list_incidents(
    *,
    only_open: bool,
    since: timedelta | None,
    rule: str | None,
    keyword: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the incidents with their reasons, the newest decision first.

    `decided` is the end of the window with which the incident was certain. `show` tells more about one of them.

    \b
    Examples:
      emostream alerts list --open
      emostream alerts list --since 7d --rule brand-anger
      emostream alerts list --keyword coffee --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.manage import with_connection  # noqa: PLC0415 - loads the client library
    from streams.alerts.storage.store import read_incidents  # noqa: PLC0415
    from streams.alerts.storage.stored import IncidentFilter  # noqa: PLC0415

    start = None if since is None else datetime.now(UTC) - since
    wanted = IncidentFilter(rule=rule, keyword=keyword, open=True if only_open else None, since=start)
    found = with_connection(
        read_settings(), "reading incidents", lambda connection: read_incidents(connection, wanted, limit)
    )
    with quiet_pipe():
        if as_json:
            _print_json({"incidents": [_document(one) for one in found]})
        elif found:
            console().print(_table(found))
        else:
            progress_console().print("there are no such incidents")


@click.command()
@click.argument("incident", metavar="INCIDENT")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, incident: str, as_json: bool) -> None:
    """Show why INCIDENT is one, the words and posts that moved the value, and what was told to whom.

    \b
    Example:
      emostream alerts show 'brand-anger|coffee|300|2026-03-01T12:00:00.000Z'
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.manage import with_connection  # noqa: PLC0415
    from streams.alerts.storage import store  # noqa: PLC0415 - loads the client library
    from streams.errors import InputError  # noqa: PLC0415

    if any("\ud800" <= character <= "\udfff" for character in incident):
        raise InputError("the key of an incident is UTF-8")

    async def run(connection: Any) -> tuple[Incident | None, list[Delivery]]:  # noqa: ANN401 - not loaded yet
        return await store.read_incident(connection, incident), await store.read_deliveries(connection, incident)

    found, deliveries = with_connection(read_settings(), "reading an incident", run)
    if found is None:
        raise InputError(f"there is no incident {incident}; `emostream alerts list --json` shows the keys")
    with quiet_pipe():
        if as_json:
            _print_json({**_document(found), "deliveries": [_delivery_document(one) for one in deliveries]})
        else:
            click.echo("\n".join(_lines(found, deliveries)))


def _table(found: list[Incident]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("decided", "state", "severity", "rule", "keyword", "why"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            minute_of(one.decided),
            _state(one),
            one.severity,
            one.rule,
            escape(keyword_name(one.keyword)),
            escape(summary_of(one.reason.summary)),
        )
    return table


def _state(incident: Incident) -> str:
    state = "open" if incident.ended is None else "closed"
    return f"{state}, muted" if incident.muted else state


def _lines(incident: Incident, deliveries: list[Delivery]) -> list[str]:
    reason = incident.reason
    ended = ""
    if incident.ended is not None:
        ended = f", ended {minute_of(incident.ended)}: {printable(incident.ended_because or '')}"
    found = [
        summary_of(reason.summary),
        f"rule     {printable(incident.rule)} ({printable(incident.rule_name)}), {incident.severity}",
        f"keyword  {keyword_name(incident.keyword)}",
        f"time     began {minute_of(incident.began)}, decided {minute_of(incident.decided)}{ended}",
        f"value    {reason.value:.4g} (95 %: {reason.low:.4g} to {reason.high:.4g}), limit {reason.limit:.4g}, "
        f"{reason.posts:,} posts",
    ]
    if reason.usual is not None:
        found.append(f"usual    {reason.usual:.4g}, by {reason.hours} hours")
    if reason.words:
        words = ", ".join(f"{printable(one.word)} ({one.score:+.1f})" for one in reason.words[:_WORDS])
        found.append(f"words    {words}")
    found += [f"post     {printable(one.source)}: {printable(one.text or one.id)}" for one in reason.examples]
    if reason.note:
        found.append(f"note     {printable(reason.note)}")
    for one in deliveries:
        error = f": {printable(one.last_error)}" if one.last_error else ""
        where = printable(one.channel) or "the topic"
        tries = "" if not one.attempts else f" after {one.attempts} {'try' if one.attempts == 1 else 'tries'}"
        found.append(f"told     {one.event} to {where}: {one.state}{tries}{error}")
    return found


def _document(incident: Incident) -> dict[str, Any]:
    return {
        "incident": incident.incident,
        "state": "open" if incident.ended is None else "closed",
        "rule": incident.rule,
        "rule_name": incident.rule_name,
        "revision": incident.revision,
        "severity": incident.severity,
        "keyword": incident.keyword,
        "size": incident.size,
        "measure": incident.measure,
        "label": incident.label,
        "direction": incident.direction,
        "began": time_of(incident.began),
        "decided": time_of(incident.decided),
        "ended": time_of(incident.ended),
        "ended_because": incident.ended_because,
        "muted": incident.muted,
        "found_at": time_of(incident.found_at),
        "explained_at": time_of(incident.explained_at),
        "reason": json.loads(incident.reason.to_json()),
    }


def _delivery_document(delivery: Delivery) -> dict[str, Any]:
    return {
        "event": delivery.event,
        "channel": delivery.channel,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "due": time_of(delivery.due_at),
        "last_error": delivery.last_error,
        "created_at": time_of(delivery.created_at),
        "delivered_at": time_of(delivery.delivered_at),
    }


def _print_json(document: dict[str, Any]) -> None:
    click.echo(printable_json(json.dumps(document, ensure_ascii=False)))
