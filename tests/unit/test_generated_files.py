from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dotenv import dotenv_values
from jsonschema import Draft202012Validator

from streams.ops.generated_files import COMPOSE_VARIABLES, RECORDS, ROOT, SECTIONS, generated, main, outdated, schema
from streams.pipeline.decode import decode_post
from streams.records import ClassifiedPost, Post
from streams.setting_types import PREFIX
from streams.settings import Settings, load_settings
from tests.helpers import NOON_MS

POST = {"id": "1", "text": "a fine day", "created_at": "2026-03-01T12:00:00Z", "source": "test"}


def test_committed_files_are_up_to_date() -> None:
    assert outdated(ROOT) == [], "run `make schemas`"


def test_every_topic_has_a_schema() -> None:
    assert set(RECORDS) == {name for name in Settings.model_fields if name.startswith("topic_")}


def test_check_names_missing_changed_and_superfluous_files_and_writing_repairs_them(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(main, ["--root", str(tmp_path)]).exit_code == 0
    assert outdated(tmp_path) == []
    schemas = tmp_path / "docs/schemas"
    (schemas / "posts.raw.json").write_text("{}")
    (schemas / "posts.late.json").unlink()
    (schemas / "posts.old.json").write_text("{}")

    check = runner.invoke(main, ["--check", "--root", str(tmp_path)])

    assert check.exit_code == 1
    assert all(name in check.output for name in ("posts.raw.json", "posts.late.json", "posts.old.json"))
    assert runner.invoke(main, ["--root", str(tmp_path)]).exit_code == 0
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} == set(generated())
    assert runner.invoke(main, ["--check", "--root", str(tmp_path)]).exit_code == 0


def test_schemas_are_valid_and_times_have_a_format() -> None:
    for record in RECORDS.values():
        document = record.json_schema()
        Draft202012Validator.check_schema(document)
    for record in (Post, ClassifiedPost):
        created_at = record.json_schema()["properties"]["created_at"]
        assert (created_at["type"], created_at["format"]) == ("string", "date-time")


def accepted_by_the_worker(document: dict[str, Any]) -> bool:
    settings = Settings()
    value = json.dumps(document).encode()
    limits = {"text_max_chars": settings.text_max_chars, "max_future_ms": int(settings.max_future_s * 1_000)}
    return isinstance(decode_post(value, **limits, now_ms=NOON_MS), Post)


def is_valid(document: dict[str, Any]) -> bool:
    return Draft202012Validator(schema(Post)).is_valid(document)  # as most validators, it does not check formats


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"lang": None, "author": None, "url": None, "keywords": None, "unknown": "\0"},
        {"text": "x" * 5_000},
        {"text": "\n a \t"},
        {"id": "x" * 512, "source": "x" * 200, "author": "x" * 512, "url": "x" * 4_096, "lang": "x" * 35},
        {"keywords": [f"word {number}" for number in range(64)]},
        {"keywords": ["x" * 200, "**", "* a", "2 * 2"]},
        {"created_at": "1970-01-01T00:00:00Z"},
        {"created_at": "2026-03-01T11:59:59.123456+05:30"},
    ],
)
def test_the_worker_accepts_what_the_schema_of_a_post_accepts(fields: dict[str, Any]) -> None:
    assert is_valid({**POST, **fields})
    assert accepted_by_the_worker({**POST, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        *({name: "a\0b"} for name in ("id", "text", "source", "lang", "author", "url")),
        {"keywords": ["a\0b"]},
        {"text": "x" * 5_001},
        {"text": ""},
        {"text": " \n\t\u3000"},
        {"text": 1},
        {"text": None},
        {"id": ""},
        {"id": "x" * 513},
        {"source": ""},
        {"source": "x" * 201},
        {"author": "x" * 513},
        {"url": "x" * 4_097},
        {"lang": "x" * 36},
        {"keywords": [f"word {number}" for number in range(65)]},
        {"keywords": ["x" * 201]},
        {"keywords": ["*"]},
        {"keywords": ["a", " *\t"]},
        {"keywords": "a"},
        {"created_at": "1969-12-31T23:59:59Z"},
        {"created_at": "2026-03-01T12:00:00"},
        {"created_at": "2026-02-28T24:00:00Z"},
        {"created_at": "2016-12-31T23:59:60Z"},
        {"created_at": 1},
    ],
)
def test_the_schema_of_a_post_refuses_what_the_worker_refuses(fields: dict[str, Any]) -> None:
    assert not accepted_by_the_worker({**POST, **fields})
    assert not is_valid({**POST, **fields})


@pytest.mark.parametrize("name", ["id", "text", "created_at", "source"])
def test_a_post_needs_its_required_fields(name: str) -> None:
    document = {key: value for key, value in POST.items() if key != name}
    assert not accepted_by_the_worker(document)
    assert not is_valid(document)


def env_example() -> str:
    return (ROOT / ".env.example").read_text("utf-8")


def test_env_example_as_it_is_changes_no_setting() -> None:
    assert load_settings(ROOT / ".env.example", environ={}) == load_settings(None, environ={})


def test_env_example_names_every_setting_with_its_default(tmp_path: Path) -> None:
    lines = env_example().splitlines()
    active = tmp_path / ".env"
    active.write_text("\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")))

    names = set(dotenv_values(active))
    assert names == {PREFIX + name.upper() for name in Settings.model_fields} | set(COMPOSE_VARIABLES)
    assert load_settings(active, environ={}) == load_settings(None, environ={})


def test_env_example_has_all_its_headings() -> None:
    assert set(SECTIONS) <= set(Settings.model_fields)
    assert all(f"# --- {title} ---" in env_example() for title in SECTIONS.values())
