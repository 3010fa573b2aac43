"""Changes of rules and mutes by people: with limits, and with a check of what a caller has seen.

Each function takes a lock for the length of its transaction. So of two callers one waits for the other, and then sees
what it did.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.postgres_pool import AsyncConnection
from streams.alerts.errors import RuleExistsError, RuleMissingError, TooManyError
from streams.alerts.rules.rule import Rule
from streams.alerts.storage import sql, store
from streams.alerts.storage.stored import Mute, StoredRule

MAX_RULES = 500
"""The most rules. The evaluation looks at each of them for each window."""

MAX_MUTES = 1_000
"""The most mutes that apply at once."""

MAX_MUTE = timedelta(days=366)
"""The longest mute."""

MAX_MUTE_REASON_CHARS = 500

Check = Callable[[int], object]
"""Called with the revision of the rule that is about to change, 0 if there is none. It may refuse by raising."""


def unchecked(_revision: int) -> None:
    """Let a caller change the rule, whatever its revision is."""


@dataclass(frozen=True)
class Applied:
    """What `apply_rules` did, as ids of rules."""

    added: list[str]
    changed: list[str]
    unchanged: list[str]
    removed: list[str]


async def put_rule(connection: AsyncConnection, rule: Rule, check: Check = unchecked) -> tuple[StoredRule, bool]:
    """Store a rule, and return it with whether it is new. A rule that stays the same keeps its revision.

    Raises:
        TooManyError: There are `MAX_RULES` rules already.
    """
    async with _locked(connection):
        revision = await _revision(connection, rule.id)
        check(revision)
        stored = await _put(connection, rule, revision)
        if not revision:
            await _check_number(connection)
    return stored, not revision


async def remove_rule(connection: AsyncConnection, id_: str, check: Check = unchecked) -> None:
    """Remove a rule. Its open incidents end when the evaluation has noticed it; they stay in the history.

    Raises:
        RuleMissingError: There is no rule of this id.
    """
    async with _locked(connection):
        revision = await _revision(connection, id_)
        check(revision)
        if not revision:
            raise RuleMissingError(f"there is no rule {id_}")
        await _remove(connection, id_)


async def remove_rules(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Remove rules, all or none of them.

    Raises:
        RuleMissingError: One of them is not there.
    """
    async with _locked(connection):
        for id_ in dict.fromkeys(ids):
            if not await _revision(connection, id_):
                raise RuleMissingError(f"there is no rule {id_}")
            await _remove(connection, id_)


async def enable_rules(connection: AsyncConnection, ids: Sequence[str], *, enabled: bool) -> None:
    """Let rules be evaluated or not, all or none of them.

    Raises:
        RuleMissingError: One of them is not there.
    """
    async with _locked(connection):
        for id_ in dict.fromkeys(ids):
            stored = await store.read_rule(connection, id_)
            if stored is None:
                raise RuleMissingError(f"there is no rule {id_}")
            await store.replace_rule(connection, stored.rule.model_copy(update={"enabled": enabled}))


async def apply_rules(
    connection: AsyncConnection, rules: Sequence[Rule], *, prune: bool = False, only_new: bool = False
) -> Applied:
    """Store rules, all or none of them.

    Args:
        connection: The connection.
        rules: The rules.
        prune: Whether all other rules are removed.
        only_new: Whether rules that there are may not be replaced.

    Raises:
        RuleExistsError: With `only_new`, there is one of the rules.
        TooManyError: There would be more than `MAX_RULES` rules.
    """
    done = Applied([], [], [], [])
    async with _locked(connection):
        if prune:
            present = [id_ for (id_,) in await store.fetch_all(connection, sql.RULE_IDS)]
            done.removed.extend(sorted(set(present) - {rule.id for rule in rules}))
            for id_ in done.removed:
                await _remove(connection, id_)
        for rule in rules:
            revision = await _revision(connection, rule.id)
            if revision and only_new:
                raise RuleExistsError(f"there is a rule {rule.id} already")
            stored = await _put(connection, rule, revision)
            if not revision:
                done.added.append(rule.id)
            else:
                (done.unchanged if stored.revision == revision else done.changed).append(rule.id)
        await _check_number(connection)
    return done


async def add_mute(
    connection: AsyncConnection, *, rule: str | None, keyword: str | None, until: datetime, reason: str = ""
) -> Mute:
    """Store a mute, and return it. It applies to incidents that begin from now on.

    Raises:
        RuleMissingError: There is no such rule.
        TooManyError: `MAX_MUTES` mutes apply already.
    """
    async with _locked(connection):
        if rule is not None and not await _revision(connection, rule):
            raise RuleMissingError(f"there is no rule {rule}")
        [[number]] = await store.fetch_all(connection, sql.COUNT_MUTES)
        if number >= MAX_MUTES:
            raise TooManyError(f"there are {MAX_MUTES} mutes already; end some first")
        return await store.add_mute(connection, rule=rule, keyword=keyword, until=until, reason=reason)


@asynccontextmanager
async def _locked(connection: AsyncConnection) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute(sql.LOCK_CHANGES)
        yield


async def _revision(connection: AsyncConnection, id_: str) -> int:
    """Returns the revision of a rule; 0 if there is none."""
    rows = await store.fetch_all(connection, sql.RULE_REVISION, {"id": id_})
    return rows[0][0] if rows else 0


async def _put(connection: AsyncConnection, rule: Rule, revision: int) -> StoredRule:
    return await (store.replace_rule if revision else store.add_rule)(connection, rule)


async def _remove(connection: AsyncConnection, id_: str) -> None:
    # The rule itself is not read: one that this version cannot read may be removed too.
    await connection.execute(sql.DELETE_RULE, {"id": id_})


async def _check_number(connection: AsyncConnection) -> None:
    if len(await store.fetch_all(connection, sql.RULE_IDS)) > MAX_RULES:
        raise TooManyError(f"there are at most {MAX_RULES} rules; remove some first")
