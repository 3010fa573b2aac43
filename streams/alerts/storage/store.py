"""Rules, mutes and incidents in Postgres: what the API, the command line and the evaluation share.

All functions are asynchronous and take a connection of `PostgresPool`, because the HTTP service and the deliveries are
asynchronous. So the evaluation is too, and there is one set of functions. Statements are in
`streams.alerts.storage.sql`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from pydantic import ValidationError

from connectors.errors import RejectedError
from connectors.postgres_pool import AsyncConnection, PostgresPool
from streams.alerts.errors import RuleExistsError, RuleMissingError
from streams.alerts.rules.rule import Rule
from streams.alerts.storage import sql
from streams.alerts.storage.stored import (
    MAX_EXAMPLES,
    Delivery,
    Explanation,
    Incident,
    IncidentFilter,
    Mute,
    StoredRule,
    UnreadableRule,
)
from streams.records import AlertReason
from streams.sink.erasures_sql import ARE_ERASED, LOCK_OUT_ERASURES

MAX_LISTED = 1_000
"""The most rows of a list."""


@asynccontextmanager
async def alerts_connection(pool: PostgresPool, doing: str) -> AsyncIterator[AsyncConnection]:
    """Lend a connection as `PostgresPool.connection` does, and say what to do if tables or rights are missing."""
    try:
        async with pool.connection(doing) as connection:
            yield connection
    except RejectedError as exc:
        if isinstance(exc.__cause__, UndefinedTable):
            raise RejectedError("this database has no tables of alerts; run `emostream init`") from exc
        if isinstance(exc.__cause__, InsufficientPrivilege):
            message = f"the login for PostgreSQL lacks a right for {doing}; grant it emostream_api or emostream_writer"
            raise RejectedError(message) from exc
        raise


async def fetch_all(
    connection: AsyncConnection, statement: str, values: Mapping[str, object] | None = None
) -> list[tuple[Any, ...]]:
    """Run a statement, and return its rows."""
    return await (await connection.execute(statement, values)).fetchall()


# Rules


async def read_rules(connection: AsyncConnection) -> tuple[list[StoredRule], list[UnreadableRule]]:
    """Returns the rules that are not deleted, by their ids, and those that this version cannot read."""
    rules: list[StoredRule] = []
    unreadable: list[UnreadableRule] = []
    for row in await fetch_all(connection, sql.RULES):
        try:
            rules.append(_rule(row))
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            unreadable.append(UnreadableRule(row[0], f"{where}: {problem['msg']}" if where else problem["msg"]))
    return rules, unreadable


async def read_rule(connection: AsyncConnection, id_: str) -> StoredRule | None:
    """Returns a rule; None if there is none of this id, or it was deleted.

    Raises:
        RejectedError: This version cannot read it.
    """
    rows = await fetch_all(connection, sql.RULE, {"id": id_})
    try:
        return _rule(rows[0]) if rows else None
    except ValidationError as exc:
        message = f"this version cannot read the stored rule {id_}; replace it or remove it"
        raise RejectedError(message) from exc


async def add_rule(connection: AsyncConnection, rule: Rule) -> StoredRule:
    """Store a new rule, and return it.

    Raises:
        RuleExistsError: There is a rule of this id.
    """
    rows = await fetch_all(connection, sql.ADD_RULE, {"id": rule.id, "rule": rule.model_dump_json()})
    if not rows:
        raise RuleExistsError(f"there is a rule {rule.id} already")
    return _rule(rows[0])


async def replace_rule(connection: AsyncConnection, rule: Rule) -> StoredRule:
    """Replace the rule of the same id, and return it. A rule that stays the same keeps its revision.

    Raises:
        RuleMissingError: There is no rule of this id.
    """
    rows = await fetch_all(connection, sql.REPLACE_RULE, {"id": rule.id, "rule": rule.model_dump_json()})
    if not rows:
        raise RuleMissingError(f"there is no rule {rule.id}")
    return _rule(rows[0])


def _rule(row: tuple[Any, ...]) -> StoredRule:
    _, revision, rule, changed_at = row
    return StoredRule(Rule.model_validate(rule), revision, changed_at)


# Mutes


async def add_mute(
    connection: AsyncConnection, *, rule: str | None, keyword: str | None, until: datetime, reason: str = ""
) -> Mute:
    """Store a mute, and return it. It applies to incidents that begin from now on."""
    values = {"rule": rule, "keyword": keyword, "until": until, "reason": reason}
    [row] = await fetch_all(connection, sql.ADD_MUTE, values)
    return Mute(*row)


async def end_mute(connection: AsyncConnection, id_: int) -> Mute | None:
    """End a mute, and return it; None if there is none of this number. One that was ended before keeps that time."""
    rows = await fetch_all(connection, sql.END_MUTE, {"id": id_})
    return Mute(*rows[0]) if rows else None


async def end_mutes(connection: AsyncConnection, *, rule: str | None, keyword: str | None) -> list[Mute]:
    """End the mutes of exactly this rule and this keyword, where None stands for every one, and return them."""
    values = {"rule": rule, "keyword": keyword}
    return [Mute(*row) for row in await fetch_all(connection, sql.END_MUTES, values)]


async def read_mutes(connection: AsyncConnection, *, ended: bool = False, limit: int = MAX_LISTED) -> list[Mute]:
    """Returns the mutes that apply now, the latest first; with `ended` also those that have ended."""
    return [Mute(*row) for row in await fetch_all(connection, sql.MUTES, {"all": ended, "limit": limit})]


# Incidents


async def read_incident(connection: AsyncConnection, incident: str) -> Incident | None:
    """Returns an incident; None if there is none of this key."""
    rows = await fetch_all(connection, sql.INCIDENT, {"incident": incident})
    return _incident(rows[0]) if rows else None


async def read_incidents(connection: AsyncConnection, wanted: IncidentFilter, limit: int) -> list[Incident]:
    """Returns at most `limit` incidents, the latest decided first. For the next page, `after` names the last one."""
    after_at, after = wanted.after or (None, None)
    values = {
        "rule": wanted.rule,
        "keyword": wanted.keyword,
        "severity": wanted.severity,
        "open": wanted.open,
        "since": wanted.since,
        "until": wanted.until,
        "after_at": after_at,
        "after": after,
        "limit": limit,
    }
    return [_incident(row) for row in await fetch_all(connection, sql.INCIDENTS, values)]


async def read_deliveries(connection: AsyncConnection, incident: str) -> list[Delivery]:
    """Returns what was told of an incident, and to whom, in the order in which it was decided."""
    return [Delivery(*row) for row in await fetch_all(connection, sql.DELIVERIES, {"incident": incident})]


async def explain(connection: AsyncConnection, incident: str, found: Explanation) -> Incident | None:
    """Store the reason of an incident with its words and posts, once, and return the incident; None if there is none.

    The reason of the incident that is returned is the one that counts: another process may have been faster. Its
    examples are the first `MAX_EXAMPLES` that are not erased, and a later erasure removes them.
    """
    async with connection.transaction():
        # Whatever the server's default is: the statements after the lock must see what was committed meanwhile.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        await connection.execute(LOCK_OUT_ERASURES)
        posts = found.reason.examples
        keys = [(post.id, post.source, found.authors.get(post.id), post.created_at) for post in posts]
        erased = await (await connection.execute(ARE_ERASED, _columns(keys))).fetchall()
        kept = [place for place, (is_erased,) in enumerate(erased) if not is_erased][:MAX_EXAMPLES]
        reason = replace(found.reason, examples=tuple(posts[place] for place in kept))
        values = {"incident": incident, "reason": reason.to_json().decode()}
        if (await connection.execute(sql.EXPLAIN, values)).rowcount:
            await connection.execute(sql.STORE_EXAMPLES, (incident, *_columns([keys[place] for place in kept])))
    return await read_incident(connection, incident)


def _columns(keys: Sequence[tuple[str, str, str | None, datetime]]) -> list[list[object]]:
    """Returns the ids, the sources, the authors and the times of creation of posts."""
    return [[key[place] for key in keys] for place in range(4)]


def _incident(row: Sequence[Any]) -> Incident:
    found = Incident(*row)
    return found._replace(reason=AlertReason.from_fields(row[15]))
