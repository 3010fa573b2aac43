from pathlib import Path

import pytest
from click.testing import CliRunner
from dotenv import dotenv_values
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from streams.ops.generated_files import COMPOSE_VARIABLES, RECORDS, ROOT, SECTIONS, generated, main, outdated
from streams.records import Post, RecordError
from streams.settings import PREFIX, Settings, load_settings

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
    assert Post.json_schema()["properties"]["created_at"] == {
        "format": "date-time",
        "type": "string",
    }


def test_the_schema_of_a_post_accepts_the_same_documents_as_the_record() -> None:
    validator = Draft202012Validator(Post.json_schema())
    validator.validate(POST)
    validator.validate({**POST, "keywords": ["a"], "lang": None, "unknown": 1})
    for wrong in ({**POST, "id": ""}, {**POST, "text": 1}, {"id": "1"}):
        with pytest.raises(ValidationError):
            validator.validate(wrong)
        with pytest.raises(RecordError):
            Post.from_fields(wrong)


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
