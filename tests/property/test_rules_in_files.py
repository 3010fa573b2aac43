"""Rules of alerts come back from a rules file as they were, and places of incidents from their texts."""

from __future__ import annotations

import tomllib
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.incident_place import parse_place, place_of
from streams.alerts.rules.file import parse_rules, to_toml
from streams.alerts.rules.rule import MAX_COMPARED_S, Rule
from streams.records import EARLIEST

characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
texts = st.text(characters, min_size=1, max_size=40).filter(str.strip)
moments = st.integers(0, 95_617_584_000_000_000).map(lambda micros: EARLIEST + timedelta(microseconds=micros))
limits = st.floats(0, 100).map(lambda value: round(value, 6))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    measure = draw(
        st.one_of(
            st.just({"of": "volume"}),
            st.builds(lambda of, label: {"of": of, "label": label}, st.sampled_from(["emotion", "sentiment"]), texts),
        )
    )
    condition = draw(
        st.one_of(
            st.builds(lambda limit: {"type": "threshold", "limit": limit}, limits),
            st.builds(lambda by: {"type": "change", "direction": "below", "by": by + 0.5, "clear": by}, limits),
            st.builds(lambda z: {"type": "zscore", "z": 1 + z / 2}, limits),
        )
    )
    keywords = draw(st.one_of(st.just("each"), st.lists(texts.map(str.strip), min_size=1, max_size=3, unique=True)))
    if measure["of"] == "volume" and condition.get("direction") == "below" and keywords == "each":
        keywords = ["*"]
    return Rule.model_validate(
        {
            "id": draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)),
            "name": draw(texts),
            "keywords": keywords,
            "window_s": draw(st.integers(1, 31 * 86_400 if "limit" in condition else MAX_COMPARED_S)),
            "measure": measure,
            "condition": condition,
            "cooldown_s": draw(st.integers(0, 31 * 86_400)),
            "enabled": draw(st.booleans()),
            "channels": draw(st.sampled_from([(), ("ops",), ("ops", "mail")])),
        }
    )


@given(st.lists(rules(), min_size=1, max_size=3, unique_by=lambda rule: rule.id))
def test_rules_come_back_from_a_file(given_rules: list[Rule]) -> None:
    text = to_toml(given_rules)
    assert parse_rules(text, "f") == given_rules
    assert not any(unicodedata.category(character) == "Cc" for character in text.replace("\n", ""))


@given(moments, texts)
def test_the_place_of_an_incident_comes_back_from_its_text(decided: datetime, incident: str) -> None:
    text = place_of(decided, incident)
    assert text.isascii()
    assert parse_place(text) == (decided, incident)


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,20}-[A-Za-z0-9_=-]*", fullmatch=True)))
def test_any_text_is_a_place_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        decided, incident = parse_place(text)
        assert decided.tzinfo is UTC
        assert "\0" not in incident


def test_what_could_act_on_a_terminal_is_escaped() -> None:
    rule = Rule.model_validate(
        {
            "id": "a",
            "name": 'a\x1b[31m\u202e\U000e0041"\\',
            "keywords": ["a\n\u2028b"],
            "window_s": 60,
            "measure": {"of": "volume"},
            "condition": {"type": "threshold", "limit": 1.5},
        }
    )
    text = to_toml([rule])
    assert text.isascii()
    assert text.count("\n") == len(tomllib.loads(text)["rule"][0]) + 1
    with pytest.raises(ValueError, match="next_before"):
        parse_place("1-AAAA")
