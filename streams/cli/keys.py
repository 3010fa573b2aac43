"""`emostream keys`: makes, lists and revokes the API keys of the HTTP service."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from streams.access.scopes import Scope
from streams.cli.common import LIBRARY_LEVELS, console, progress_console, read_settings
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.timestamps import Timestamp

if TYPE_CHECKING:
    from streams.access.keys import StoredKey

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_MAX_DAYS = 36_500


class _Span(click.ParamType):
    """A time such as `12h`, `90d` or `8w`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        """Returns the time; fails if it is not one, or above a hundred years."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,6})([hdw])", value)
        span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
        if span is None or span.days > _MAX_DAYS:
            self.fail(f"{value!r} is not a time; write 12h, 90d or 8w", param, ctx)
        return span


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of the HTTP service.

    A key says who calls and what they may do. Postgres stores a hash of it, so nobody can show it a second time. Once
    there is a key, the HTTP service answers only requests with a key, or with a token of EMOSTREAM_OIDC_ISSUER.

    \b
    query    ask what people feel about a keyword
    predict  classify texts
    read     read windows, keywords, posts, alerts, models and the audit
    live     keep a stream open
    alerts   change the rules of alerts, and mute them

    \b
    Example:
      emostream keys add dashboard --scope read --scope live
      emostream keys list
      emostream keys revoke 4k2v09xq7m
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    # While Postgres does not answer, it logs each attempt; the command prints the error.
    logging.getLogger("psycopg.pool").setLevel(LIBRARY_LEVELS["psycopg.pool"])


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="What the key allows. May be repeated; all without it.",
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(0, 100_000_000),
    metavar="N",
    show_default="EMOSTREAM_API_REQUESTS_PER_MINUTE",
    help="Requests that the key may send in a minute; 0 for no limit.",
)
@click.option("--expires", type=_Span(), metavar="TIME", help="Time after which the key is refused: 12h, 90d, 8w.")
@click.option("--json", "as_json", is_flag=True, help="Print the key and what is stored of it as JSON.")
def add(
    *, name: str, scopes: tuple[str, ...], requests_per_minute: int | None, expires: timedelta | None, as_json: bool
) -> None:
    """Make a key for NAME, and print it. It cannot be shown again.

    Only the key goes to standard output, so it can be piped into a store of secrets. Programs send it as
    `Authorization: Bearer KEY` or as `X-API-Key: KEY`. The HTTP service accepts it within a second.

    \b
    Examples:
      emostream keys add dashboard
      emostream keys add ci --scope query --requests-per-minute 60 --expires 90d
      emostream keys add shop | docker secret create emostream_key -
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.access.manage import add_key  # noqa: PLC0415 - loads the client library

    given, stored = add_key(
        read_settings(),
        name,
        scopes=[Scope(scope) for scope in scopes] or list(Scope),
        requests_per_minute=requests_per_minute,
        expires_at=None if expires is None else datetime.now(UTC) + expires,
    )
    if as_json:
        click.echo(printable_json(json.dumps({"key": given.reveal(), **_document(stored)}, ensure_ascii=False)))
    else:
        click.echo(given.reveal())
    until = "does not expire" if stored.expires_at is None else f"expires at {_time(stored.expires_at)}"
    click.echo(f"key {stored.id} for {printable(stored.name)} {until}; store it now, it is not shown again", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, as_json: bool) -> None:
    """List the keys, without their secrets.

    Revoked and expired keys stay in the list.

    \b
    Examples:
      emostream keys list
      emostream keys list --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.access.manage import list_keys as read  # noqa: PLC0415 - loads the client library

    found = read(read_settings())
    with quiet_pipe():
        if as_json:
            click.echo(printable_json(json.dumps({"keys": [_document(key) for key in found]}, ensure_ascii=False)))
        elif found:
            console().print(_table(found))
        else:
            progress_console().print("there are no API keys")


@keys.command()
@click.argument("id_", metavar="ID")
def revoke(*, id_: str) -> None:
    """Revoke the key with ID, for good.

    The processes of the HTTP service refuse it within ten seconds. A key that was revoked before stays as it is.

    \b
    Example:
      emostream keys revoke 4k2v09xq7m
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.access.manage import revoke_key  # noqa: PLC0415 - loads the client library

    stored = revoke_key(read_settings(), id_)
    click.echo(f"key {stored.id} of {printable(stored.name)} is revoked since {_time(stored.revoked_at)}")


def _table(found: list[StoredKey]) -> Table:
    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "state", "scopes", "a minute", "expires", "last used"):
        table.add_column(column, overflow="fold")
    for key in found:
        limit = key.requests_per_minute
        table.add_row(
            key.id,
            escape(printable(key.name)),
            _state(key, now),
            " ".join(sorted(key.scopes)),
            "" if limit is None else f"{limit:,}" if limit else "no limit",
            "" if key.expires_at is None else f"{key.expires_at.astimezone(UTC):%Y-%m-%d}",
            "" if key.last_used_on is None else key.last_used_on.isoformat(),
        )
    return table


def _document(key: StoredKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "state": _state(key, datetime.now(UTC)),
        "scopes": sorted(key.scopes),
        "requests_per_minute": key.requests_per_minute,
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "last_used_on": None if key.last_used_on is None else key.last_used_on.isoformat(),
    }


def _state(key: StoredKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.is_expired(now) else "active"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else Timestamp.of(moment).rfc3339()
