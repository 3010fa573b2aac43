"""Writes the files that are generated from the code: JSON Schemas, docs/settings.md, the palette, `.env.example`.

    python -m streams.ops.generated_files            write the files that have changed
    python -m streams.ops.generated_files --check    write nothing; exit with 1 if a file is not up to date

A schema has the default name of its topic. It describes the records that a reader accepts, in which a field with a
default may be missing. The application writes every field, except in raw posts, where it leaves out fields
that have their default.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from streams.charts.palette_page import palette_page
from streams.ops.settings_list import Entry, entries, markdown_table
from streams.records import (
    AlertRecord,
    ClassifiedPost,
    ControlRecord,
    DeadPost,
    DeletionRecord,
    EmotionTotals,
    EmotionWindow,
    GapRecord,
    KeywordRecord,
    LatePost,
    Post,
    Record,
    SourcePosition,
)
from streams.setting_types import PREFIX
from streams.settings import Settings

ROOT = Path(__file__).parents[2]

RECORDS: dict[str, type[Record]] = {
    "topic_raw": Post,
    "topic_classified": ClassifiedPost,
    "topic_dead": DeadPost,
    "topic_late": LatePost,
    "topic_windows": EmotionWindow,
    "topic_totals": EmotionTotals,
    "topic_control": ControlRecord,
    "topic_keywords": KeywordRecord,
    "topic_sources": SourcePosition,
    "topic_gaps": GapRecord,
    "topic_deletions": DeletionRecord,
    "topic_alerts": AlertRecord,
}
"""The record of each topic, by the setting that names the topic."""

SECTIONS = {
    "kafka_bootstrap": "Kafka",
    "topic_raw": "Topics",
    "unmatched_posts": "Sources",
    "redis_url": "Redis",
    "postgres_dsn": "Postgres",
    "s3_endpoint": "S3 and the model",
    "api_host": "HTTP service",
    "query_cache_s": "Answers",
    "api_url": "Clients of the HTTP service",
    "batch_max": "Posts, batches and windows",
    "sink_batch": "Sink and operation",
}
"""Headings of `.env.example`, by the first setting under each heading."""

COMPOSE_VARIABLES = {
    "POSTGRES_PASSWORD": ("emostream", "Password of the Postgres user emostream; set before the first start."),
    "REDIS_PASSWORD": ("emostream", "Password of Valkey."),
}
"""Variables that only docker-compose.yml reads: their default and their description."""

_ENV_HEAD = """\
# Settings of emostream. Copy this file to .env and remove the # in front of the lines that you change.
# Environment variables override .env. `emostream settings` shows the current values. Written by `make schemas`.
"""
_COMPOSE_HEAD = """\
# Only docker-compose.yml reads these. The passwords become parts of addresses, so use letters, digits, - and _.
# In the containers, the addresses of the servers are those of docker-compose.yml, not those above."""

_SETTINGS_HEAD = """\
# Settings

Every setting is an environment variable, or a line of the file `.env` in the current folder. Environment variables
override `.env`. An unknown name with the prefix `EMOSTREAM_` is an error, so a misspelt setting is never ignored. An
empty value stands for the default. `emostream settings` shows the current values, with passwords masked. `.env.example`
has all settings.

`make schemas` writes this page from `streams/settings.py`.
"""


def schema(record: type[Record]) -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a record.

    A worker that has the default settings classifies each post that is valid by its schema, if it is not from the
    future.
    """
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **record.json_schema()}
    if record is Post:
        # The worker checks these after it has decoded the post.
        document["properties"]["text"] |= {
            "description": f"`{PREFIX}TEXT_MAX_CHARS` sets the longest text; `maxLength` is its default.",
            "maxLength": Settings.model_fields["text_max_chars"].default,
            "allOf": [{"pattern": r"\S"}],
        }
    return document


def env_example(listed: list[Entry]) -> str:
    """Returns the content of `.env.example`: every setting with its default, commented out."""
    sections = {PREFIX + name.upper(): title for name, title in SECTIONS.items()}
    lines = [_ENV_HEAD.rstrip("\n")]
    for entry in listed:
        if entry.name in sections:
            lines += ["", f"# --- {sections[entry.name]} ---"]
        lines += ["", f"# {entry.description}", f"#{entry.name}={entry.default}"]
    lines += ["", "# --- docker compose ---", _COMPOSE_HEAD]
    for name, (default, description) in COMPOSE_VARIABLES.items():
        lines += ["", f"# {description}", f"#{name}={default}"]
    return "\n".join(lines) + "\n"


def generated() -> dict[Path, str]:
    """Returns the content of every generated file, by its path from the root of the checkout."""
    topics = {setting: Settings.model_fields[setting].default for setting in RECORDS}
    listed = entries(None)
    return {
        **{
            Path(f"docs/schemas/{topics[setting]}.json"): _as_text(schema(record))
            for setting, record in RECORDS.items()
        },
        Path("docs/settings.md"): f"{_SETTINGS_HEAD}\n{markdown_table(listed)}\n",
        Path("docs/reference/palette.md"): palette_page(),
        Path(".env.example"): env_example(listed),
    }


def _as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def outdated(root: Path) -> list[Path]:
    """Returns the generated files below `root` that are missing or differ, and schema files without a record."""
    wanted = generated()
    changed = [path for path, content in wanted.items() if _read(root / path) != content]
    schemas = [path.relative_to(root) for path in sorted((root / "docs/schemas").glob("*.json"))]
    return changed + [path for path in schemas if path not in wanted]


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file is not up to date.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), default=ROOT, help="Root of the checkout.")
def main(*, check: bool, root: Path) -> None:
    """Write the files that are generated from the code: schemas, pages of the documentation and .env.example.

    Prints the name of each file that it writes or removes.
    """
    changed = outdated(root)
    if check:
        if changed:
            raise click.ClickException(f"not up to date: {', '.join(map(str, changed))}; run `make schemas`")
        return
    wanted = generated()
    for path in changed:
        if path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted[path], "utf-8")
            click.echo(f"wrote {path}")
        else:
            (root / path).unlink()
            click.echo(f"removed {path}")
    click.echo("done" if changed else "up to date")


if __name__ == "__main__":
    main()
