"""`emostream model publish`, `promote`, `rollback` and `pull`: change the registry, and download from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from models.package.folder import bundled_package_path, load_package
from models.registry.cache import download, fetch
from models.registry.catalog import find
from models.registry.channels import LATEST, Channel, Pointer, Release
from models.registry.publish import promote as promote_to
from models.registry.publish import publish as publish_to
from models.registry.publish import rollback as roll_back
from models.registry.version import read_version
from streams.cli.common import read_settings
from streams.cli.model_common import entry_json, json_option, megabytes, open_registry, registry_option, transfer_bar
from streams.connections import model_threads
from streams.errors import InputError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--bundled", is_flag=True, help="Upload the package that comes with this version of emostream.")
@click.option("--channel", metavar="CHANNEL", show_default=LATEST, help="Channel to move to the version.")
@click.option("--no-channel", is_flag=True, help="Move no channel.")
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Before the upload, load the package and check its answers to its golden posts, as workers do.",
)
@registry_option
@json_option
def publish(
    *,
    folder: Path | None,
    bundled: bool,
    channel: str | None,
    no_channel: bool,
    check: bool,
    uri: str | None,
    as_json: bool,
) -> None:
    """Upload the model package in FOLDER, or the bundled one, and move a channel to it.

    A version never changes, so a package with other content is refused if its version is in the registry. If you
    publish the same package again, every file is compared, and only missing or damaged files are uploaded. Prints what
    was uploaded and where the channel points. Workers that follow the channel use the version within
    EMOSTREAM_MODEL_POLL_S seconds. By default workers follow `stable`, which `emostream model promote` moves.

    \b
    Examples:
      emostream model publish my-model/
      emostream model publish my-model/ --channel candidate
      emostream model publish --bundled --channel candidate
      emostream model publish spanish/ --uri s3://emostream-models/spanish
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if bundled == (folder is not None):
        raise click.UsageError("give the FOLDER of a package, or --bundled")
    if no_channel and channel is not None:
        raise click.UsageError("give --channel or --no-channel, not both")
    target = None if no_channel else channel or LATEST
    settings = read_settings()
    with open_registry(settings, uri) as (location, s3):
        package = load_package(folder or bundled_package_path())
        size = package.manifest.size
        if check:
            from models.serving.steps import load_checked  # noqa: PLC0415 - loads the model runtime

            load_checked(package, threads=model_threads(settings))
        with transfer_bar("uploading", size) as on_bytes:
            done = publish_to(package, str(location), s3, channel=target, on_bytes=on_bytes)
    if as_json:
        moved = None
        if target is not None and done.pointer is not None:
            moved = _move_document(target, done.pointer, moved=done.moved)
        facts = {"name": done.release.name, "version": done.release.version, "uri": str(location), "bytes": size}
        click.echo(json.dumps({**facts, "uploaded": done.uploaded, "channel": moved}, indent=2))
        return
    did = f"uploaded ({megabytes(size)})" if done.uploaded else "already in the registry, with the same content"
    click.echo(f"{done.release} in {location}: {did}")
    if target is not None and done.pointer is not None:
        _print_move(target, done.pointer, moved=done.moved)


@click.command()
@click.argument("which", metavar="CHANNEL|VERSION|NAME@VERSION")
@click.option(
    "--to", "channel", required=True, metavar="CHANNEL", help="Channel to move. It is created if it does not exist."
)
@registry_option
@json_option
def promote(*, which: str, channel: str, uri: str | None, as_json: bool) -> None:
    """Move a channel to a version in the registry.

    Name the version itself, or another channel that points to it. Before the move all its files are read and compared
    with its manifest. Prints where the channel points now and where it pointed before. If somebody else moves the
    channel at the same time, one of the two moves is refused.

    \b
    Examples:
      emostream model promote candidate --to stable
      emostream model promote emotion-minilm-l4@3.1.0 --to stable
      emostream model promote latest --to stable --uri s3://emostream-models/spanish
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    with open_registry(read_settings(), uri) as (location, s3):
        seen, pointer = promote_to(location, s3, find(location, s3, which), channel)
    _print_change(channel, seen, pointer, as_json=as_json)


@click.command()
@click.argument("channel")
@click.option(
    "--to",
    "version",
    metavar="VERSION",
    show_default="the version before the current one",
    help="Version in the history of the channel.",
)
@registry_option
@json_option
def rollback(*, channel: str, version: str | None, uri: str | None, as_json: bool) -> None:
    """Move a channel back to a version that it pointed to before.

    The versions after that one are marked as rolled back, and later rollbacks skip them. So a second rollback moves the
    channel further back. A channel remembers its last 20 moves, which `emostream model show CHANNEL` lists. Prints
    where the channel points now and where it pointed before.

    \b
    Examples:
      emostream model rollback stable
      emostream model rollback stable --to 3.0.0
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    with open_registry(read_settings(), uri) as (location, s3):
        seen, pointer = roll_back(location, s3, channel, version)
    _print_change(channel, seen, pointer, as_json=as_json)


@click.command()
@click.argument("which", metavar="[CHANNEL|NAME@VERSION]", required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", show_default="the cache", help="New folder.")
@registry_option
@json_option
def pull(*, which: str | None, out: Path | None, uri: str | None, as_json: bool) -> None:
    """Download a version, verify its files, and print the folder.

    Without an argument it takes the channel EMOSTREAM_MODEL_CHANNEL.

    \b
    Examples:
      emostream model pull stable --out my-model
      echo "what a lovely day" | emostream classify - --model "$(emostream model pull stable)"
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    if out is not None and out.exists():
        raise InputError(f"{out} already exists; give a new folder")
    with open_registry(settings, uri) as (location, s3):
        version = read_version(location, s3, find(location, s3, which or settings.model_channel))
        with transfer_bar("downloading", version.size) as on_bytes:
            if out is None:
                folder = fetch(version, s3, settings.model_cache, on_bytes).path
            else:
                folder = out
                try:
                    download(version, s3, out, on_bytes)
                except OSError as exc:
                    raise InputError(f"{out} cannot be written: {exc.strerror or exc}") from exc
    if as_json:
        facts = {"name": version.release.name, "version": version.release.version, "folder": str(folder)}
        click.echo(json.dumps({**facts, "bytes": version.size}, indent=2))
    else:
        click.echo(str(folder))


def _print_change(channel: str, seen: Channel | None, pointer: Pointer, *, as_json: bool) -> None:
    moved = seen is None or seen.pointer != pointer
    if as_json:
        click.echo(json.dumps(_move_document(channel, pointer, moved=moved), indent=2))
    else:
        _print_move(channel, pointer, moved=moved)


def _before(pointer: Pointer, *, moved: bool) -> Release | None:
    """Returns the version that the channel pointed to before this command; None if the channel is new."""
    if not moved:
        return pointer.release
    return pointer.history[0].release if pointer.history else None


def _move_document(channel: str, pointer: Pointer, *, moved: bool) -> dict[str, Any]:
    before = _before(pointer, moved=moved)
    return {
        "channel": channel,
        "moved": moved,
        "before": None if before is None else before._asdict(),
        **entry_json(pointer),
    }


def _print_move(channel: str, pointer: Pointer, *, moved: bool) -> None:
    if not moved:
        click.echo(f"channel {channel} already points to {pointer.release}")
        return
    before = _before(pointer, moved=moved)
    was = "it is new" if before is None else f"before: {before}"
    click.echo(f"channel {channel} now points to {pointer.release} ({was})")
