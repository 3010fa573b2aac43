"""`emostream model list` and `emostream model show`: show what the registry has."""

from __future__ import annotations

import json
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from models.package.manifest import Head, Manifest
from models.registry.catalog import contents, find
from models.registry.channels import Channel, is_channel_name, read_channel
from models.registry.version import Version, read_version
from streams.cli.common import console, progress_console, read_settings
from streams.cli.model_common import entry_json, json_option, megabytes, open_registry, registry_option
from streams.cli.output import printable
from streams.ops.model_versions import channels_of, dangling_channels, problem_rows, version_rows
from streams.records import rfc3339

_FIGURES: Final = ("accuracy", "macro_f1", "macro_recall")
"""Endings of the names of the metrics that the table has room for."""

_PIPED_WIDTH: Final = 160
"""Width of the table in characters if stdout is not a terminal."""


@click.command(name="list")
@registry_option
@json_option
def list_models(*, uri: str | None, as_json: bool) -> None:
    """List the versions in the registry, oldest first.

    Prints a row for each version: its date, its size, the channels that point to it and its metrics. --json prints an
    array of {name, version, bytes, created_at, metrics, channels, problem}. `problem` says why the manifest of a
    version cannot be read. A channel that cannot be read has a row without name and version.

    \b
    Examples:
      emostream model list
      emostream model list --uri s3://emostream-models/spanish
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    with open_registry(read_settings(), uri) as (location, s3):
        registry = contents(location, s3)
        rows = version_rows(location, s3, registry)
    if as_json:
        click.echo(json.dumps(rows + problem_rows(registry), indent=2))
    elif rows:
        out = console()
        if not out.is_terminal:
            out.width = _PIPED_WIDTH
        out.print(_versions_table(rows))
    else:
        progress_console().print(f"{location} holds no model yet")
    for channel in dangling_channels(registry):
        progress_console().print(
            f"channel {channel.name} points to {channel.pointer.release}, which is not in the registry"
        )
    for problem in registry.problems.values():
        progress_console().print(printable(problem), markup=False, soft_wrap=True)


@click.command()
@click.argument("which", metavar="[NAME[@VERSION]|CHANNEL]", required=False)
@registry_option
@json_option
def show(*, which: str | None, uri: str | None, as_json: bool) -> None:
    """Show a version, or the version that a channel points to and the history of the channel.

    Prints the labels, tiers, training data and metrics of the version. Without an argument it shows the channel
    EMOSTREAM_MODEL_CHANNEL. A name without a version stands for the newest version of this name.

    \b
    Examples:
      emostream model show stable
      emostream model show emotion-minilm-l4
      emostream model show emotion-minilm-l4@3.0.0
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    reference = which or settings.model_channel
    with open_registry(settings, uri) as (location, s3):
        channel = read_channel(location, s3, reference) if is_channel_name(reference) else None
        version = read_version(location, s3, channel.pointer.release if channel else find(location, s3, reference))
        channels = channels_of(contents(location, s3), version.release)
    if as_json:
        click.echo(json.dumps(_version_document(version, channels, channel), indent=2))
    else:
        console().print(_version_table(version, channels))
        if channel is not None:
            console().print(_history_table(channel))


def _versions_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("model", "version", "made"):
        table.add_column(name, no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("channels")
    table.add_column("metrics")
    for row in rows:
        metrics = [f"{name} {value:.3f}" for name, value in row["metrics"].items() if name.endswith(_FIGURES)]
        table.add_row(
            row["name"],
            row["version"],
            (row["created_at"] or "-")[:10],
            megabytes(row["bytes"]),
            ", ".join(row["channels"]) or "-",
            Text(printable(row["problem"]), style="red") if row["problem"] else Text(printable(", ".join(metrics))),
        )
    return table


def _version_document(version: Version, channels: list[str], channel: Channel | None) -> dict[str, Any]:
    return {
        "name": version.release.name,
        "version": version.release.version,
        "uri": str(version.location),
        "manifest_sha256": version.digest,
        "bytes": version.size,
        "channels": channels,
        "channel": None
        if channel is None
        else {
            "channel": channel.name,
            **entry_json(channel.pointer),
            "history": [entry_json(position) for position in channel.pointer.history],
        },
        "manifest": version.manifest.model_dump(mode="json"),
    }


def _version_table(version: Version, channels: list[str]) -> Table:
    manifest = version.manifest
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    lines: list[tuple[str, str]] = [
        ("model", str(version.release)),
        ("registry", str(version.location)),
        ("channels", ", ".join(channels) or "none"),
        ("made", rfc3339(manifest.created_at)),
        ("base model", manifest.base_model),
        ("licence", manifest.licence),
        ("reads", ", ".join(manifest.languages)),
        ("size", megabytes(version.size)),
        ("manifest", f"sha256 {version.digest}"),
        *((f"head {head.name}", _head(head)) for head in manifest.heads),
        *((f"tier {tier.name}", _tier(manifest, index)) for index, tier in enumerate(manifest.tiers)),
        *(("trained on", f"{data.name} ({data.licence})") for data in manifest.training_data),
        *((name, f"{value:g}") for name, value in manifest.metrics.items()),
    ]
    for name, value in lines:
        table.add_row(Text(printable(name)), Text(printable(value)))
    return table


def _head(head: Head) -> str:
    if head.values is None:
        return ", ".join(head.labels)
    return ", ".join(f"{label} ({value:g})" for label, value in zip(head.labels, head.values, strict=True))


def _tier(manifest: Manifest, index: int) -> str:
    tier = manifest.tiers[index]
    if not tier.thresholds:
        combined = ", combined with the answer of the tier before it" if any(tier.earlier_weights.values()) else ""
        return f"{tier.file}; answers every text that reaches it{combined}"
    sure = ", ".join(f"{head} at least {value:g}" for head, value in tier.thresholds.items())
    return f"{tier.file}; answers if its confidence is enough: {sure}"


def _history_table(channel: Channel) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="")
    table.title = f"\nchannel {channel.name}"
    for name in ("pointed to", "since", "moved by", ""):
        table.add_column(name, no_wrap=True)
    for index, position in enumerate((channel.pointer, *channel.pointer.history)):
        table.add_row(
            str(position.release),
            rfc3339(position.moved_at) if position.moved_at else "-",
            Text(printable(position.moved_by or "-")),
            "now" if index == 0 else "rolled back" if position.withdrawn else "",
        )
    return table
