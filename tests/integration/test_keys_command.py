"""API keys are made, listed and revoked with the commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from connectors.errors import RejectedError
from streams.access import manage
from streams.access.access import Access
from streams.access.errors import UnauthenticatedError
from streams.access.keys import parse_key
from streams.access.scopes import Scope
from streams.cli import cli
from streams.errors import InputError
from tests.integration.access_support import (
    Clock,
    access_env,
    access_settings,
    clock,
    execute,
    later,
    link,
    opened,
    redis,
)
from tests.integration.bi_support import database, dsn

__all__ = ["access_env", "access_settings", "clock", "database", "dsn", "link", "opened", "redis"]  # fixtures

Run = Callable[..., Any]


@pytest.fixture
def run(
    access_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Calls a command in this process, and returns what it prints on stdout and on stderr."""
    for name, value in access_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Any:
        cli.main(["keys", *arguments], standalone_mode=False)
        return capsys.readouterr()

    return call


def listed(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("list", "--json").out)["keys"]
    return found


def test_only_the_key_goes_to_stdout_and_only_its_hash_is_stored(run: Run, dsn: str) -> None:
    out, err = run("add", " dashboard ☕ ")
    given = parse_key(out.removesuffix("\n"))
    assert given is not None
    assert given.id in err
    assert "it is not shown again" in err
    assert given.secret not in err
    [(everything,)] = execute(dsn, "SELECT api_keys::text FROM api_keys")
    assert given.secret not in everything
    assert given.sha256().hex() in everything
    [key] = listed(run)
    assert (key["id"], key["name"], key["state"]) == (given.id, "dashboard ☕", "active")
    assert key["scopes"] == sorted(Scope)
    assert [key[name] for name in ("requests_per_minute", "expires_at", "revoked_at", "last_used_on")] == [None] * 4


def test_a_key_may_have_scopes_a_limit_and_an_end(run: Run) -> None:
    out, err = run(
        "add", "ci", "--scope", "query", "--scope", "live", "--requests-per-minute", "60", "--expires", "90d"
    )
    assert "expires at 2" in err
    [key] = listed(run)
    assert (key["scopes"], key["requests_per_minute"]) == (["live", "query"], 60)
    left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)
    document = json.loads(run("add", "other", "--requests-per-minute", "0", "--json").out)
    assert parse_key(document["key"]).id == document["id"]  # type: ignore[union-attr]
    table = run("list").out
    assert "no limit" in table
    assert "live query" in table
    assert out.strip() not in table


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["x", "--expires", "90"], "is not a time; write 12h, 90d or 8w"),
        (["x", "--expires", "0d"], "is not a time"),
        (["x", "--expires", "9999999w"], "is not a time"),
        (["x", "--scope", "admin"], "'admin' is not one of"),
        (["x", "--requests-per-minute", "-1"], "-1 is not in the range"),
    ],
)
def test_options_that_are_refused(run: Run, arguments: list[str], problem: str) -> None:
    with pytest.raises(click.UsageError, match=problem):
        run("add", *arguments)


def test_names_that_are_refused_and_too_many_keys(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "  ", "a\nb", "\x1b[31m", "x" * 201):
        with pytest.raises(InputError, match="1 to 200 printable characters"):
            run("add", name)
    monkeypatch.setattr(manage, "MAX_KEYS", 1)
    run("add", "x" * 200)
    with pytest.raises(InputError, match="1 keys already; revoke some"):
        run("add", "b")


def test_a_revoked_key_stays_in_the_list(run: Run) -> None:
    assert "there are no API keys" in run("list").err
    keys = [run("add", name).out.strip() for name in ("a", "b")]
    id_ = parse_key(keys[0]).id  # type: ignore[union-attr]
    first = run("revoke", id_).out
    assert first.startswith(f"key {id_} of a is revoked since 2")
    assert run("revoke", keys[0]).out == first  # the whole key is taken too, and a second time changes nothing
    assert [(key["name"], key["state"]) for key in listed(run)] == [("a", "revoked"), ("b", "active")]
    for unknown, problem in (("0000000000", "there is no API key 0000000000"), ("nonsense", "ten letters and digits")):
        with pytest.raises(InputError, match=problem):
            run("revoke", unknown)


def test_a_database_without_the_table_is_an_error_of_one_line(run: Run, dsn: str) -> None:
    execute(dsn, "DROP TABLE api_keys")
    for arguments in (["add", "a"], ["list"], ["revoke", "0000000000"]):
        with pytest.raises(RejectedError, match="run `emostream init`"):
            run(*arguments)


async def test_the_service_follows_the_commands(run: Run, opened: Callable[..., Any], clock: Clock) -> None:
    key = (await asyncio.to_thread(run, "add", "a", "--scope", "read")).out.strip()
    access: Access = await opened()
    assert (await access.admit(None, key, Scope.READ)).name == "a"
    await asyncio.to_thread(run, "revoke", key)
    await later(access, clock)
    with pytest.raises(UnauthenticatedError):
        await access.admit(None, key, Scope.READ)
