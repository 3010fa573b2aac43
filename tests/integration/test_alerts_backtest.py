"""`emostream alerts backtest` on real Postgres: it finds what the evaluator finds in the same windows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest

from benchmarks.alerts.streams import Kind, make
from streams.alerts.backtest.backtest import run as backtest
from streams.alerts.backtest.past_windows import past_windows
from streams.alerts.engine.engine import RevisedRule
from streams.alerts.rules.rule import Rule
from streams.cli import cli
from streams.errors import InputError, SettingsError
from streams.records import EmotionWindow, from_ms
from tests.integration.backtest_support import (
    BEGIN,
    DAY_MS,
    END,
    FIVE_FROM,
    KINDS,
    decided_live,
    history,
    store,
    to_json,
)
from tests.integration.bi_support import database, dsn
from tests.integration.rules_support import a_rule, toml

__all__ = ["database", "dsn"]  # fixtures

Run = Callable[..., Any]
Z_SCORE = {"type": "zscore", "z": 4}
RULES = [
    Rule.model_validate(a_rule("anger", keywords="each", window_s=300, for_windows=2, **fields))
    for fields in [{"measure": {"of": "emotion", "label": "anger"}, "condition": Z_SCORE}]
] + [
    Rule.model_validate(a_rule(id_, **fields))
    for id_, fields in {
        "crowd": {"keywords": "each", "window_s": 3_600, "condition": Z_SCORE},
        "negative": {
            "keywords": ["anger", "quiet"],
            "window_s": 300,
            "measure": {"of": "sentiment", "label": "negative"},
            "condition": {"type": "change", "by": 8},
            "for_windows": 3,
        },
        "silence": {
            "keywords": ["holes", "never"],
            "window_s": 300,
            "condition": {"type": "threshold", "direction": "below", "limit": 2},
            "cooldown_s": 0,
        },
    }.items()
]


@pytest.fixture(scope="module")
def windows() -> list[EmotionWindow]:
    return history()


@pytest.fixture
def stored(dsn: str, windows: list[EmotionWindow]) -> str:
    """The DSN of a database with the history."""
    store(dsn, windows)
    return dsn


@pytest.fixture
def run(stored: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command in this process, and returns what it prints on stdout and on stderr."""
    monkeypatch.setenv("EMOSTREAM_POSTGRES_DSN", stored)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    Path("rules.toml").write_text(toml(*(rule.model_dump(mode="json", exclude_none=True) for rule in RULES)), "utf-8")

    def call(*arguments: str, since: int = BEGIN, until: int = END) -> Any:
        span = ["--from", from_ms(since).rfc3339(), "--to", from_ms(until).rfc3339()]
        cli.main(["alerts", "backtest", *span, *arguments], standalone_mode=False)
        return capsys.readouterr()

    return call


def revised(rules: list[Rule] = RULES) -> list[RevisedRule]:
    return [RevisedRule(rule, 0) for rule in rules]


def test_it_finds_what_the_evaluator_finds(stored: str, windows: list[EmotionWindow]) -> None:
    shares: list[float] = []
    with past_windows(stored) as past:
        result = backtest(past, revised(), BEGIN, END, progress=shares.append)
    incidents = [incident for rule in result.rules for incident in rule.incidents]
    found = [one for incident in incidents for one in (incident.opened, incident.closed) if one is not None]
    live = decided_live(RULES, windows)
    assert sorted(map(to_json, found)) == sorted(map(to_json, live))
    assert {incident.opened.rule for incident in incidents} == {rule.id for rule in RULES}  # each rule finds something
    assert result.notes == []
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_one_keyword_is_evaluated_as_among_others(stored: str) -> None:
    with past_windows(stored) as past:
        both = [backtest(past, revised(), BEGIN, END, only=only) for only in ((), ("anger",))]
    everything, alone = ([i for rule in one.rules for i in rule.incidents] for one in both)
    assert alone
    assert alone == [incident for incident in everything if incident.opened.keyword == "anger"]
    assert [rule.series for rule in both[1].rules] == [1, 1, 1, 0]


def test_hours_are_added_up_from_smaller_windows(stored: str) -> None:
    with psycopg.connect(stored) as connection:
        connection.execute("DELETE FROM emotion_windows WHERE size_s = 3600")
    rules = [rule for rule in RULES if rule.id == "anger"]
    with past_windows(stored) as past:
        [found] = (result := backtest(past, revised(rules), BEGIN, END)).rules
    onset = _onset("anger")
    assert {incident.opened.keyword for incident in found.incidents} == {"anger"}
    assert onset <= found.incidents[0].opened.began <= onset + DAY_MS
    assert found.without_baseline == 0
    [note] = result.notes
    assert note.startswith(f"the hours begin at {from_ms(FIVE_FROM).rfc3339()}, less than four weeks before --from")


def test_windows_that_say_nothing_are_counted(stored: str, windows: list[EmotionWindow]) -> None:
    rules = [
        Rule.model_validate(a_rule("small", keywords="each", window_s=300, min_posts=10_000, measure=measure))
        for measure in [{"of": "emotion", "label": "anger"}]
    ]
    early = [Rule.model_validate(a_rule("early", keywords=["anger"], window_s=3_600, condition=Z_SCORE))]
    with past_windows(stored) as past:
        [small] = backtest(past, revised(rules), BEGIN, END).rules
        [found] = (result := backtest(past, revised(early), BEGIN - 28 * DAY_MS, BEGIN)).rules
    there = [one for one in windows if one.size == 300 and BEGIN <= one.start.ms < END and one.keyword != "*"]
    assert (small.windows, small.too_small) == (len(there), len(there))
    assert (small.series, small.series_without_data, small.incidents) == (len(KINDS), len(KINDS), [])
    # Nothing is usual before six days are known: the first window that is compared is that of the seventh day.
    assert (found.windows, found.without_baseline, found.series_without_baseline) == (28 * 24, 6 * 24, 0)
    assert "less than four weeks" in result.notes[0]


def test_the_command_prints_the_incidents(run: Run) -> None:
    onset = _onset("anger")
    out, err = run("--rules", "rules.toml", "--onset", from_ms(onset).rfc3339(), "--json", until=END + DAY_MS)
    document = json.loads(out)
    anger = next(rule for rule in document["rules"] if rule["rule"] == "anger")
    first = next(incident for incident in document["incidents"] if incident["rule"] == "anger")
    assert first["incident"].startswith("anger|anger|300|")
    assert first["late_s"] == 600
    assert 0 < anger["after_onset_s"] <= 86_400
    assert anger["per_week"] == pytest.approx(anger["incidents"] / (3 / 7))
    assert "the sink lags behind: emostream sink status" in err
    table = run("--rules", "rules.toml", "--limit", "1").out
    assert "anger" in table
    assert f"{len(document['incidents']) - 1} more incidents" in table


def test_stored_rules_keep_their_revision(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="there are no rules that are enabled"):
        run("--stored")
    cli.main(["alerts", "rules", "add", "rules.toml"], standalone_mode=False)
    capsys.readouterr()
    document = json.loads(run("--stored", "--keyword", "anger", "--json").out)
    assert {rule["revision"] for rule in document["rules"]} == {1}
    assert {incident["keyword"] for incident in document["incidents"]} == {"anger"}


def test_what_cannot_be_run_is_said_in_a_line(run: Run) -> None:
    Path("two.toml").write_text(toml(a_rule("two", window_s=120)), "utf-8")
    with pytest.raises(InputError, match=r"rule two: the history has no windows of 2m; it has 5m, 1h"):
        run("--rules", "two.toml")
    Path("bad.toml").write_text(toml(a_rule("bad", window_s=-1)), "utf-8")
    with pytest.raises(SettingsError, match=r"bad\.toml: rule 1 \(bad\)"):
        run("--rules", "bad.toml")
    for arguments in (("--rules", "rules.toml", "--stored"), ()):
        with pytest.raises(click.UsageError, match="give --rules FILE or --stored"):
            run(*arguments)
    with pytest.raises(click.UsageError, match="--to must be after --from"):
        run("--stored", until=BEGIN)
    with pytest.raises(click.UsageError, match="--onset must be in the time"):
        run("--stored", "--onset", from_ms(END).rfc3339())


def _onset(keyword: str) -> int:
    [stream] = make(Kind(KINDS[keyword]), [900], seed=3, days=3)
    return stream.start_ms(stream.onset)
