"""What is wrong with rules of alerts, in a file and in the HTTP service's model of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.models.alerts import AlertRule
from streams.alerts.rules.file import MAX_FILE_BYTES, parse_rules, read_rules
from streams.alerts.rules.problems import RuleProblem, Served, problems_of, served_problems
from streams.alerts.rules.rule import Rule
from streams.errors import SettingsError

RULE = """
[[rule]]
id = "a"
name = "A"
keywords = ["tea"]
window = "5m"
measure = { of = "emotion", label = "joy" }
condition = { type = "threshold", limit = 40 }
channels = ["ops"]
"""


def plain(schema: object, definitions: Mapping[str, Any]) -> object:
    """A JSON Schema with its definitions in place, without names and descriptions."""
    if isinstance(schema, list):
        return [plain(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = plain(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        assert isinstance(found, dict)
        return {**found, **{name: value for name, value in schema.items() if name == "default"}}
    left_out = {"$defs", "title", "description", "examples", "discriminator"}
    return {name: plain(value, definitions) for name, value in schema.items() if name not in left_out}


def test_the_http_service_takes_the_rules_that_the_evaluation_takes() -> None:
    def schema(model: type[BaseModel]) -> object:
        document = model.model_json_schema()
        return plain(document, document["$defs"])

    assert schema(AlertRule) == schema(Rule)
    assert AlertRule.model_config["extra"] == Rule.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has tables [[rule]], at least one, and nothing else"),
        ("rule = 1", "has tables [[rule]], at least one, and nothing else"),
        ("rule = [1]", "has tables [[rule]], at least one, and nothing else"),
        (f"x = 1\n{RULE}", "has tables [[rule]], at least one, and nothing else"),
        ("[[rule", "is not TOML: "),
        (RULE.replace('"5m"', "5"), "rule 1 (a): window: is not a duration; give a text such as '5m' or '2h'"),
        (RULE.replace('"5m"', '"5 minutes"'), "rule 1 (a): window: '5 minutes' is not a duration"),
        (RULE.replace('"5m"', '"0s"'), "rule 1 (a): window: Input should be greater than 0"),
        (RULE.replace('"5m"', '"90d"'), "rule 1 (a): window: Input should be less than or equal to 2678400"),
        (f"{RULE}window_s = 300", "rule 1 (a): window: give window or window_s"),
        (f'{RULE}cooldown = "1y"', "rule 1 (a): cooldown: '1y' is not a duration"),
        (RULE.replace('id = "a"', ""), "rule 1: id: Field required"),
        (RULE.replace('id = "a"', 'id = "A b"'), "rule 1 (A b): id: String should match pattern"),
        (RULE.replace("limit = 40", "limit = 40, clear = 41"), "rule 1 (a): condition: clear must not be above limit"),
        (RULE.replace("limit = 40", "limit = -1"), "rule 1 (a): condition.limit: Input should be greater than"),
        (RULE.replace("threshold", "magic"), "rule 1 (a): condition: Input tag 'magic'"),
        (RULE.replace('["tea"]', '["tea", "tea"]'), "rule 1 (a): keywords: names a keyword twice"),
        (RULE.replace('["tea"]', "[]"), "rule 1 (a): keywords: "),
        (RULE.replace('["tea"]', '"tea"'), "rule 1 (a): keywords: "),
        (f"{RULE}colour = 1", "rule 1 (a): colour: Extra inputs are not permitted"),
        (RULE + RULE, "rule 2 (a): id: an earlier rule of the file has it too"),
        (
            RULE.replace('"5m"', '"61s"'),
            "rule 1 (a): window_s: windows of this size are not counted; the sizes are 3",
        ),
        (
            RULE.replace('"ops"', '"pager"'),
            "rule 1 (a): channels: there is no channel pager; the channels are mail",
        ),
        (
            RULE.replace('"joy"', '"hunger"'),
            "rule 1 (a): measure.label: no served model has this label; the labels",
        ),
    ],
)
def test_a_file_that_is_refused_names_the_rule_and_the_field(text: str, problem: str) -> None:
    served = Served(sizes=[300], emotions=["joy"], sentiments=[], channels=["ops", "mail"])
    with pytest.raises(SettingsError) as caught:
        parse_rules(text, "rules.toml", served)
    assert any(line.startswith(f"rules.toml: {problem}") for line in caught.value.problems), caught.value.problems


def test_every_problem_of_a_file_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_rules(RULE.replace("40", "140") + RULE.replace('"a"', '"b"').replace('"5m"', "5"), "f")
    assert [line.partition(" (")[0] for line in caught.value.problems] == ["f: rule 1", "f: rule 2"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_rules(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        read_rules(path)
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SettingsError, match="is longer than"):
        read_rules(path)
    path.write_text(RULE + 'cooldown = "0s"', "utf-8")
    [rule] = read_rules(path)
    assert (rule.window_s, rule.cooldown_s) == (300, 0)


def test_what_is_not_known_is_not_checked() -> None:
    [rule] = parse_rules(RULE, "f")
    assert served_problems(rule, Served()) == []
    assert [problem.field for problem in served_problems(rule, Served([], [], [], []))] == [
        "window_s",
        "measure.label",
        "channels",
    ]
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate({**rule.model_dump(), "for_windows": 0})
    assert problems_of(caught.value) == [RuleProblem("for_windows", "Input should be greater than or equal to 1")]
