"""Rules, incidents and mutes of alerts with the commands, on real Postgres."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest

from connectors.errors import RejectedError
from streams.alerts.errors import RuleExistsError, RuleMissingError, TooManyError
from streams.alerts.storage import changes
from streams.cli import cli
from streams.errors import InputError, SettingsError
from tests.integration.access_support import execute
from tests.integration.bi_support import database, dsn
from tests.integration.rules_support import a_rule, add_incident, toml

__all__ = ["database", "dsn"]  # fixtures

Run = Callable[..., Any]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "alerts.toml"


@pytest.fixture
def run(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls a command in this process, and returns what it prints on stdout and on stderr."""
    monkeypatch.setenv("EMOSTREAM_POSTGRES_DSN", dsn)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Any:
        cli.main(["alerts", *arguments], standalone_mode=False)
        return capsys.readouterr()

    return call


def write(*rules: dict[str, Any]) -> str:
    Path("rules.toml").write_text(toml(*rules), "utf-8")
    return "rules.toml"


def revisions(run: Run) -> dict[str, int]:
    return {one["rule"]["id"]: one["revision"] for one in json.loads(run("rules", "list", "--json").out)["rules"]}


def test_the_example_file_is_stored_and_comes_back_as_it_is(run: Run) -> None:
    assert "there are no rules" in run("rules", "list").err
    out = run("rules", "add", str(EXAMPLE)).out
    ids = [rule["id"] for rule in tomllib.loads(EXAMPLE.read_text("utf-8"))["rule"]]
    assert out == f"added: {', '.join(ids)}\n"
    table = run("rules", "list").out
    assert "anger above 40 %, 2 × 5m" in table
    assert "each keyword" in table
    assert "all posts" in table
    Path("shown.toml").write_text(run("rules", "show").out, "utf-8")
    before = revisions(run)
    assert run("rules", "apply", "--prune", "shown.toml").out == f"unchanged: {', '.join(sorted(ids))}\n"
    assert revisions(run) == before == dict.fromkeys(ids, 1)
    with pytest.raises(RuleExistsError, match=f"there is a rule {ids[0]} already"):
        run("rules", "add", str(EXAMPLE))


def test_a_file_is_applied_as_a_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("rules", "apply", write(a_rule("a"), a_rule("b"), a_rule("c")))
    out = run("rules", "apply", "--prune", write(a_rule("a"), a_rule("b", name="Fury"), a_rule("d"))).out
    assert out == "added: d\nchanged: b\nremoved: c\nunchanged: a\n"
    assert revisions(run) == {"a": 1, "b": 2, "d": 1}
    assert run("rules", "apply", write(a_rule("c"))).out == "added: c\n"
    assert revisions(run)["c"] == 3  # its former incidents have other revisions

    # One rule that cannot be used, and nothing is stored.
    with pytest.raises(
        SettingsError, match=r"rules.toml: rule 2 \(f\): window_s: windows of this size are not counted"
    ):
        run("rules", "apply", write(a_rule("e"), a_rule("f", window_s=61)))
    monkeypatch.setattr(changes, "MAX_RULES", 4)
    with pytest.raises(TooManyError, match="at most 4 rules"):
        run("rules", "apply", "--prune", write(*(a_rule(f"x{number}") for number in range(5))))
    with pytest.raises(RuleMissingError, match="no rule nope"):
        run("rules", "remove", "a", "nope")
    with pytest.raises(RuleMissingError, match="no rule nope"):
        run("rules", "disable", "a", "nope")
    assert revisions(run) == {"a": 1, "b": 2, "c": 3, "d": 1}
    assert run("rules", "disable", "a", "b", "a").out == "disabled 2 rules\n"
    assert run("rules", "disable", "a").out == "disabled 1 rule\n"
    assert revisions(run) == {"a": 2, "b": 3, "c": 3, "d": 1}
    assert "enabled = false" in run("rules", "show", "a").out
    assert run("rules", "enable", "a").out == "enabled 1 rule\n"
    assert run("rules", "remove", "a", "b").out == "removed 2 rules\n"
    assert set(revisions(run)) == {"c", "d"}


def test_rules_are_checked_against_the_channels_and_the_labels_that_there_are(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("channels.toml").write_text('[channels.ops]\ntype = "slack"\nurl = "env:ABSENT"\n', "utf-8")
    monkeypatch.setenv("EMOSTREAM_ALERT_CHANNELS", "channels.toml")
    with pytest.raises(SettingsError, match="channels: there is no channel pager; the channels are ops"):
        run("rules", "apply", write(a_rule(channels=["ops", "pager"])))
    rule = a_rule(channels=["ops"], measure={"of": "emotion", "label": "angre"})
    assert run("rules", "apply", write(rule)).err == ""  # no window tells which labels there are
    execute(
        dsn,
        "INSERT INTO emotion_windows SELECT '*', 3600, now() - interval '2 h', now() - interval '1 h', 5, NULL, '{}',"
        " '{}', now(), now(), 0, true, 1, 0, '{}'",
    )
    execute(
        dsn, "INSERT INTO emotion_window_labels SELECT '*', 3600, start_at, 'anger', 5, 100, 1 FROM emotion_windows"
    )
    assert "no window of the last week has the emotion angre, but anger" in run("rules", "apply", write(rule)).err


def test_incidents_are_listed_with_their_reasons(run: Run, dsn: str) -> None:
    assert "there are no such incidents" in run("list").err
    now = datetime.now(UTC).replace(microsecond=0)
    old = add_incident(dsn, now - timedelta(days=3), ended=now - timedelta(days=2), rule="other")
    new = add_incident(dsn, now - timedelta(hours=1), keyword="te\x1b[31ma [b]")
    execute(
        dsn, "UPDATE alert_outbox SET state = 'failed', attempts = 3, last_error = 'e\x1b[0m' WHERE channel = 'ops'"
    )

    def keys(*options: str) -> list[str]:
        return [one["incident"] for one in json.loads(run("list", "--json", *options).out)["incidents"]]

    assert keys() == [new, old]
    assert keys("--open") == keys("--since", "2h") == keys("--limit", "1") == [new]
    assert keys("--rule", "other") == keys("--keyword", "coffee") == [old]
    table, whole = run("list").out, run("show", new).out
    for text in table, whole:
        assert "\x1b" not in text
        assert r"te\x1b[31ma [b]" in text
    assert "45 % of coffee" in table
    assert r"\u20" not in table + whole
    assert "closed" in table
    assert "words    spilt (+4.2)" in whole
    assert "post     mastodon: spilt my coffee" in whole
    assert r"told     opened to ops: failed after 3 tries: e\x1b[0m" in whole
    assert "told     opened to the topic: waiting" in whole
    document = json.loads(run("show", old, "--json").out)
    assert (document["state"], document["ended_because"], len(document["deliveries"])) == ("closed", "cleared", 2)
    for unknown in "x' OR '1'='1", "a\x1b":
        with pytest.raises(InputError, match="there is no incident"):
            run("show", unknown)


def test_mutes_are_made_listed_and_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing is muted" in run("mutes").err
    run("rules", "apply", write(a_rule("a")))
    assert run("mute", "a", "--for", "2h", "--reason", " known ").out.startswith("muted rule a until 2")
    run("mute", "--keyword", "*", "--for", "30m")
    run("mute", "a", "--keyword", "tea", "--for", "7d")
    found = json.loads(run("mutes", "--json").out)["mutes"]
    assert [(one["rule"], one["keyword"], one["reason"]) for one in found] == [
        ("a", "tea", ""),
        (None, "*", ""),
        ("a", None, "known"),
    ]
    left = datetime.fromisoformat(found[0]["until"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert "all posts" in run("mutes").out
    assert run("unmute", "--keyword", "*").out == "ended 1 mute of keyword all posts\n"
    assert run("unmute", "a").out == "ended 1 mute of rule a\n"
    with pytest.raises(InputError, match="there is no such mute"):
        run("unmute", "a")
    assert len(json.loads(run("mutes", "--json").out)["mutes"]) == 1
    with pytest.raises(RuleMissingError, match="there is no rule b"):
        run("mute", "b", "--for", "2h")
    with pytest.raises(InputError, match="500 printable characters"):
        run("mute", "a", "--for", "2h", "--reason", "a\x1b")
    monkeypatch.setattr(changes, "MAX_MUTES", 1)
    with pytest.raises(TooManyError, match="there are 1 mutes already"):
        run("mute", "a", "--for", "2h")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["mute", "--for", "2h"], "give RULE, --keyword or both"),
        (["mute", "a", "--for", "2"], "is not a span"),
        (["mute", "a", "--for", "0h"], "is not a span"),
        (["mute", "a", "--for", "400d"], "is not a span"),
        (["mute", "A B", "--for", "2h"], "is not the id of a rule"),
        (["mute", "--keyword", " ", "--for", "2h"], "is not a keyword"),
        (["unmute"], "give RULE, --keyword or both"),
        (["rules", "remove", "'; DROP TABLE alert_rules; --"], "is not the id of a rule"),
        (["rules", "apply", "absent.toml"], "does not exist"),
        (["list", "--limit", "0"], "0 is not in the range"),
    ],
)
def test_arguments_that_are_refused(run: Run, arguments: list[str], problem: str) -> None:
    with pytest.raises(click.UsageError, match=problem):
        run(*arguments)


def test_what_the_database_lacks_is_an_error_of_one_line(run: Run, dsn: str) -> None:
    run("rules", "apply", write(a_rule("a"), a_rule("b")))
    execute(dsn, """UPDATE alert_rules SET rule = '{"id": "a"}' WHERE id = 'a'""")
    listed = run("rules", "list", "--json")
    assert [one["rule"]["id"] for one in json.loads(listed.out)["rules"]] == ["b"]
    assert "rule a cannot be read: " in listed.err
    with pytest.raises(RejectedError, match="cannot read the stored rule a; replace it or remove it"):
        run("rules", "disable", "a")
    assert run("rules", "apply", write(a_rule("a"))).out == "changed: a\n"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE alert_rules, alert_mutes, alert_outbox, alert_incidents CASCADE")
    for arguments in (["rules", "list"], ["rules", "remove", "a"], ["list"], ["show", "x"], ["mutes"]):
        with pytest.raises(RejectedError, match="run `emostream init`"):
            run(*arguments)
