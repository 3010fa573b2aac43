"""`emostream alerts rules`: lists and changes the rules of alerts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from streams.cli.alerts_words import RuleIdType, condition_of, keywords_of, time_of
from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.wording import counted

if TYPE_CHECKING:
    from streams.alerts.storage.stored import StoredRule

_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
_IDS = click.argument("ids", nargs=-1, required=True, type=RuleIdType(), metavar="ID...")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def rules() -> None:
    """List and change the rules of alerts.

    A rule says what is measured, when it is an incident, and whom it is told. `apply` stores the rules of a TOML file,
    so that they can be kept under version control. A rule that changes ends its open incidents.

    \b
    Example:
      emostream alerts rules apply alerts.toml
      emostream alerts rules list
      emostream alerts rules disable brand-anger
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


@rules.command("list")
@_AS_JSON
def list_rules(*, as_json: bool) -> None:
    """List the rules, in the order of their ids.

    \b
    Examples:
      emostream alerts rules list
      emostream alerts rules list --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    found = _read()
    with quiet_pipe():
        if as_json:
            _print_json({"rules": [_document(one) for one in found]})
        elif found:
            console().print(_table(found))
        else:
            progress_console().print("there are no rules")


@rules.command()
@click.argument("ids", nargs=-1, type=RuleIdType(), metavar="[ID]...")
def show(*, ids: tuple[str, ...]) -> None:
    """Print rules as a rules file, all without an ID.

    `add` and `apply` read what this prints.

    \b
    Examples:
      emostream alerts rules show brand-anger
      emostream alerts rules show > alerts.toml
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.errors import RuleMissingError  # noqa: PLC0415 - loads the client library
    from streams.alerts.rules.file import to_toml  # noqa: PLC0415

    found = {one.rule.id: one.rule for one in _read()}
    if missing := [id_ for id_ in ids if id_ not in found]:
        raise RuleMissingError(
            f"there is no rule {missing[0]}; `emostream alerts rules list` shows those that there are"
        )
    with quiet_pipe():
        click.echo(to_toml([found[id_] for id_ in ids] if ids else found.values()), nl=False)


@rules.command()
@_FILE
def add(*, file: Path) -> None:
    """Store the rules of FILE, which must be new.

    If one of them is there already, or cannot be used, none is stored.

    \b
    Example:
      emostream alerts rules add alerts.toml
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    _apply(file, prune=False, only_new=True)


@rules.command()
@_FILE
@click.option("--prune", is_flag=True, help="Remove all rules that the file does not have.")
def apply(*, file: Path, prune: bool) -> None:
    """Store the rules of FILE, and replace those that are there.

    A rule that is the same already stays as it is, so applying a file again changes nothing. If a rule cannot be used,
    none is stored.

    \b
    Examples:
      emostream alerts rules apply alerts.toml
      emostream alerts rules apply --prune alerts.toml
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    _apply(file, prune=prune, only_new=False)


@rules.command()
@_IDS
def remove(*, ids: tuple[str, ...]) -> None:
    """Remove the rules with ID.

    Their open incidents end, and all their incidents stay in the history. If one of the rules is not there, none is
    removed.

    \b
    Example:
      emostream alerts rules remove brand-anger
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.alerts.manage import with_connection  # noqa: PLC0415
    from streams.alerts.storage import changes  # noqa: PLC0415 - loads the client library

    with_connection(read_settings(), "removing rules", lambda connection: changes.remove_rules(connection, ids))
    click.echo(f"removed {counted(len(set(ids)), 'rule')}")


@rules.command()
@_IDS
def enable(*, ids: tuple[str, ...]) -> None:
    """Let the rules with ID be evaluated.

    \b
    Example:
      emostream alerts rules enable brand-anger
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    _enable(ids, enabled=True)


@rules.command()
@_IDS
def disable(*, ids: tuple[str, ...]) -> None:
    """Keep the rules with ID, and do not evaluate them. Their open incidents end.

    \b
    Example:
      emostream alerts rules disable brand-anger
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    _enable(ids, enabled=False)


def _read() -> list[StoredRule]:
    from streams.alerts.manage import with_connection  # noqa: PLC0415 - loads the client library
    from streams.alerts.storage.store import read_rules  # noqa: PLC0415

    found, unreadable = with_connection(read_settings(), "reading the rules", read_rules)
    for one in unreadable:
        click.echo(f"emostream: rule {printable(one.id)} cannot be read: {printable(one.error)}", err=True)
    return found


def _apply(file: Path, *, prune: bool, only_new: bool) -> None:
    from streams.alerts import manage  # noqa: PLC0415 - loads the client library
    from streams.alerts.storage import changes  # noqa: PLC0415 - loads the client library

    settings = read_settings()
    given = manage.rules_of(settings, file)

    async def run(connection: Any) -> tuple[changes.Applied, list[str]]:  # noqa: ANN401 - its library is not loaded
        done = await changes.apply_rules(connection, given, prune=prune, only_new=only_new)
        return done, await manage.unknown_labels(connection, given)

    done, warnings = manage.with_connection(settings, "storing rules", run)
    for warning in warnings:
        click.echo(f"emostream: warning: {printable(warning)}", err=True)
    parts = {"added": done.added, "changed": done.changed, "removed": done.removed, "unchanged": done.unchanged}
    for what, ids in parts.items():
        if ids:
            click.echo(f"{what}: {', '.join(ids)}")


def _enable(ids: Sequence[str], *, enabled: bool) -> None:
    from streams.alerts.manage import with_connection  # noqa: PLC0415
    from streams.alerts.storage import changes  # noqa: PLC0415 - loads the client library

    with_connection(
        read_settings(),
        "changing rules",
        lambda connection: changes.enable_rules(connection, ids, enabled=enabled),
    )
    click.echo(f"{'enabled' if enabled else 'disabled'} {counted(len(set(ids)), 'rule')}")


def _table(found: list[StoredRule]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "keywords", "finds", "severity", "channels", "state"):
        table.add_column(column, overflow="fold")
    for rule, *_ in found:
        table.add_row(
            rule.id,
            escape(printable(rule.name)),
            escape(keywords_of(rule)),
            escape(condition_of(rule)),
            rule.severity.value,
            " ".join(rule.channels) or "all",
            "on" if rule.enabled else "off",
        )
    return table


def _document(stored: StoredRule) -> dict[str, Any]:
    return {
        "revision": stored.revision,
        "changed_at": time_of(stored.changed_at),
        "rule": stored.rule.model_dump(mode="json"),
    }


def _print_json(document: dict[str, Any]) -> None:
    click.echo(printable_json(json.dumps(document, ensure_ascii=False)))
