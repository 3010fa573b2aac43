"""The rules file: rules of alerts in TOML, for people and for version control.

Each `[[rule]]` is a rule with the fields of `streams.alerts.rules.rule.Rule`. In place of seconds, `window` and
`cooldown` take durations, such as `5m` or `2h`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from streams.alerts.rules.problems import RuleProblem, Served, problems_of, served_problems
from streams.alerts.rules.rule import Rule
from streams.alerts.text_file import read_text
from streams.errors import SettingsError
from streams.window_sizes import format_duration, parse_duration

MAX_FILE_BYTES: Final = 2_000_000

_DURATIONS: Final = {"window": "window_s", "cooldown": "cooldown_s"}
_ANY: Final = Served()

# Of the characters of a string, TOML wants these escaped; the others could also act on a terminal that shows the file.
_ESCAPED: Final = re.compile(
    '[\x00-\x1f"\\\\\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb'
    "\U000e0000-\U000e007f]"
)


def read_rules(path: Path, served: Served = _ANY) -> list[Rule]:
    """Read a rules file.

    Args:
        path: the file.
        served: what the system has for rules; by default that is not checked.

    Returns:
        The rules, in the order of the file.

    Raises:
        SettingsError: The file cannot be read, or a rule cannot be used. There is a line for each problem.
    """
    return parse_rules(read_text(path, MAX_FILE_BYTES), str(path), served)


def parse_rules(text: str, name: str, served: Served = _ANY) -> list[Rule]:
    """Returns the rules of the text of a rules file. `name` is the file's name in messages.

    Raises:
        SettingsError: See `read_rules`.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise SettingsError([f"{name}: is not TOML: {exc}"]) from None
    tables = content.pop("rule", None)
    if content or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError([f"{name}: has tables [[rule]], at least one, and nothing else"])
    rules: list[Rule] = []
    problems: list[str] = []
    for number, table in enumerate(tables, start=1):
        found = _rule(table)
        wrong = served_problems(found, served) if isinstance(found, Rule) else found
        if isinstance(found, Rule) and found.id in {rule.id for rule in rules}:
            wrong = [RuleProblem("id", "an earlier rule of the file has it too")]
        if isinstance(found, Rule):
            rules.append(found)
        id_ = table.get("id")
        which = f"rule {number} ({id_})" if isinstance(id_, str) and id_ else f"rule {number}"
        problems.extend(f"{name}: {which}: {problem}" for problem in wrong)
    if problems:
        raise SettingsError(problems)
    return rules


def _rule(table: dict[str, Any]) -> Rule | list[RuleProblem]:
    """Returns the rule of a table, or what is wrong with it."""
    fields, problems = dict(table), []
    for short, field in _DURATIONS.items():
        if short not in fields:
            continue
        value = fields.pop(short)
        try:
            if field in fields:
                raise ValueError(f"give {short} or {field}")
            if not isinstance(value, str):
                raise ValueError("is not a duration; give a text such as '5m' or '2h'")
            fields[field] = parse_duration(value)
        except ValueError as exc:
            problems.append(RuleProblem(short, str(exc)))
            fields.setdefault(field, 60)
    try:
        rule = Rule.model_validate(fields)
    except ValidationError as exc:
        return problems + [_as_written(problem, table) for problem in problems_of(exc)]
    return problems or rule


def _as_written(problem: RuleProblem, table: dict[str, Any]) -> RuleProblem:
    short = next((short for short, field in _DURATIONS.items() if field == problem.field and short in table), None)
    return problem if short is None else problem._replace(field=short)


def to_toml(rules: Iterable[Rule]) -> str:
    """Returns rules as a rules file, with all fields. `parse_rules` reads the same rules from it."""
    return "\n".join(map(_table, rules))


def _table(rule: Rule) -> str:
    fields = rule.model_dump(mode="json", exclude_none=True)
    fields["window"] = format_duration(fields.pop("window_s"))
    condition = fields["condition"]
    fields["condition"] = {"type": condition.pop("type"), **condition}
    cooldown = fields.pop("cooldown_s")
    fields["cooldown"] = format_duration(cooldown) if cooldown else "0s"
    order = ["id", "name", "keywords", "window", "measure", "condition"]
    names = order + [name for name in fields if name not in order]
    return "[[rule]]\n" + "".join(f"{name} = {_value(fields[name])}\n" for name in names)


def _value(value: Any) -> str:  # noqa: ANN401 - what JSON has
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + _ESCAPED.sub(_escape, value) + '"'
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return "{ " + ", ".join(f"{name} = {_value(one)}" for name, one in value.items()) + " }"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case _:
            return repr(value)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return f"\\{character}" if character in '"\\' else f"\\U{ord(character):08x}"
