"""Writes the files that are generated from the code: the records' JSON Schemas, the settings' page and `.env.example`.

    python -m streams.ops.schemas            write what has changed
    python -m streams.ops.schemas --check    change nothing; exit with 1 if a file is not up to date

A schema is named after its topic's default name. It describes what a reader accepts: a field with a default may be
absent. What the application writes has every field.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from streams.ops.settings_list import Entry, entries, markdown_table
from streams.records import (
    ClassifiedPost,
    ControlRecord,
    DeadPost,
    EmotionTotals,
    EmotionWindow,
    LatePost,
    Post,
    Record,
)
from streams.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]

RECORDS: dict[str, type[Record]] = {
    "topic_raw": Post,
    "topic_classified": ClassifiedPost,
    "topic_dead": DeadPost,
    "topic_late": LatePost,
    "topic_windows": EmotionWindow,
    "topic_totals": EmotionTotals,
    "topic_control": ControlRecord,
}
"""The record of each topic, by the setting that names the topic."""

SECTIONS = {
    "kafka_bootstrap": "Kafka",
    "topic_raw": "Topics",
    "redis_url": "Redis",
    "postgres_dsn": "Postgres",
    "s3_endpoint": "S3 and the model",
    "batch_max": "Posts, batches and windows",
    "sink_batch": "Sink and operation",
}
"""Headings of `.env.example`, by the first setting under each."""

COMPOSE_VARIABLES = {
    "POSTGRES_PASSWORD": ("emostream", "Password of the Postgres user emostream; set before the first start."),
    "REDIS_PASSWORD": ("emostream", "Password of Valkey."),
}
"""What only docker-compose.yml reads, with its defaults."""

_ENV_HEAD = """\
# Settings of emostream. Copy to .env, take away the # in front of what you change.
# The environment wins over .env. `emostream settings` shows what is in force. Written by `make schemas`.
"""
_COMPOSE_HEAD = """\
# Read by docker-compose.yml only. The passwords become parts of addresses: letters, digits, - and _.
# In the containers the addresses of the servers are set by docker-compose.yml, whatever stands above."""

_SETTINGS_HEAD = """\
# Settings

Every setting is an environment variable, or a line in a file `.env` in the current folder; the environment wins.
An unknown name with the prefix `EMOSTREAM_` is an error, so a misspelt setting is not silently ignored. An empty value
means the default. `emostream settings` shows the values in force, with passwords masked. `.env.example` has them all.

This page is written by `make schemas`, from `streams/settings.py`.
"""


def schema(record: type[Record]) -> str:
    """A record's JSON Schema (draft 2020-12) as a document."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **record.json_schema()}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def env_example(listed: list[Entry]) -> str:
    """`.env.example`: every setting with its default, commented out."""
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
    """Every generated file, relative to the root of the checkout, with its content."""
    topics = {setting: Settings.model_fields[setting].default for setting in RECORDS}
    listed = entries(None)
    return {
        **{Path(f"docs/schemas/{topics[setting]}.json"): schema(record) for setting, record in RECORDS.items()},
        Path("docs/settings.md"): f"{_SETTINGS_HEAD}\n{markdown_table(listed)}\n",
        Path(".env.example"): env_example(listed),
    }


def outdated(root: Path) -> list[Path]:
    """The generated files below `root` that are missing or differ, and schemas that belong to no record."""
    wanted = generated()
    stale = [path for path, content in wanted.items() if _read(root / path) != content]
    strays = [path.relative_to(root) for path in sorted((root / "docs/schemas").glob("*.json"))]
    return stale + [path for path in strays if path not in wanted]


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file is not up to date.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), default=ROOT, help="Root of the checkout.")
def main(*, check: bool, root: Path) -> None:
    """Write the files that are generated from the code."""
    stale = outdated(root)
    if check:
        if stale:
            raise click.ClickException(f"not up to date, run `make schemas`: {', '.join(map(str, stale))}")
        return
    wanted = generated()
    for path in stale:
        if path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted[path], "utf-8")
            click.echo(f"wrote {path}")
        else:
            (root / path).unlink()
            click.echo(f"removed {path}")
    click.echo("up to date" if not stale else "done")


if __name__ == "__main__":
    main()
