"""`emostream model publish`, `promote`, `rollback` and `pull`."""

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
from streams.cli.model_common import entry_json, json_option, megabytes, open_registry, transfer_bar
from streams.connections import model_threads
from streams.errors import InputError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--bundled", is_flag=True, help="Take the package that comes with this version of emostream.")
@click.option("--channel", metavar="CHANNEL", help=f"Channel to move to it.  [default: {LATEST}]")
@click.option("--no-channel", is_flag=True, help="Upload only; move no channel.")
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Before anything is uploaded, load the package and try its golden posts, as workers will.",
)
@json_option
def publish(
    *, folder: Path | None, bundled: bool, channel: str | None, no_channel: bool, check: bool, as_json: bool
) -> None:
    """Upload the model package in FOLDER, or the bundled one, and move a channel to it.

    A version never changes: publishing other content under a version that is there is refused. Publishing the same
    again compares every file, and uploads only what is missing or damaged. Workers that serve the channel take the
    version over within EMOSTREAM_MODEL_POLL_S. They serve `stable` unless they are told otherwise, so this reaches
    them only with `emostream model promote`.

    \b
    emostream model publish my-model/
    emostream model publish my-model/ --channel candidate
    emostream model publish --bundled --channel candidate
    emostream model promote candidate --to stable
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if bundled == (folder is not None):
        raise click.UsageError("give the FOLDER of a package, or --bundled")
    if no_channel and channel is not None:
        raise click.UsageError("give --channel or --no-channel, not both")
    target = None if no_channel else channel or LATEST
    settings = read_settings()
    with open_registry(settings) as (location, s3):
        package = load_package(folder or bundled_package_path())
        size = package.manifest.size
        if check:
            from models.serving.steps import load_checked  # noqa: PLC0415 - loads the model runtime

            load_checked(package, threads=model_threads(settings))
        with transfer_bar("uploading", size) as on_bytes:
            done = publish_to(package, settings.model_uri, s3, channel=target, on_bytes=on_bytes)
    if as_json:
        moved = None if target is None or done.pointer is None else _move_json(target, done.pointer, moved=done.moved)
        facts = {"name": done.release.name, "version": done.release.version, "uri": str(location), "bytes": size}
        click.echo(json.dumps({**facts, "uploaded": done.uploaded, "channel": moved}, indent=2))
        return
    did = f"uploaded ({megabytes(size)})" if done.uploaded else "there already, with the same content"
    click.echo(f"{done.release} in {location}: {did}")
    if target is not None and done.pointer is not None:
        _say_moved(target, done.pointer, moved=done.moved)


@click.command()
@click.argument("which", metavar="CHANNEL|VERSION|NAME@VERSION")
@click.option("--to", "channel", required=True, metavar="CHANNEL", help="The channel to move; made if it is new.")
@json_option
def promote(*, which: str, channel: str, as_json: bool) -> None:
    """Move a channel to a version that is in the registry.

    The version is given by itself, or by another channel that points to it. All its files are read and compared with
    its manifest first. If somebody moves the channel at the same time, one of the two is refused.

    \b
    emostream model promote candidate --to stable
    emostream model promote emotion-minilm-l4@3.1.0 --to stable
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    with open_registry(read_settings()) as (location, s3):
        seen, pointer = promote_to(location, s3, find(location, s3, which), channel)
    _report(channel, seen, pointer, as_json=as_json)


@click.command()
@click.argument("channel")
@click.option("--to", "version", metavar="VERSION", help="A version that the channel pointed to.  [default: the last]")
@json_option
def rollback(*, channel: str, version: str | None, as_json: bool) -> None:
    """Move a channel back to where it was before.

    Again, it goes back further: a version that was rolled back is passed over, and so is whatever came after the one
    that --to names. A channel remembers its last 20 moves; `emostream model show CHANNEL` lists them.
    """
    with open_registry(read_settings()) as (location, s3):
        seen, pointer = roll_back(location, s3, channel, version)
    _report(channel, seen, pointer, as_json=as_json)


@click.command()
@click.argument("which", metavar="[CHANNEL|NAME@VERSION]", required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="A new folder.  [default: the cache]")
@json_option
def pull(*, which: str | None, out: Path | None, as_json: bool) -> None:
    """Download a version, every file verified, and print its folder. Without an argument: the channel of the settings.

    \b
    emostream model pull stable --out my-model
    echo "what a lovely day" | emostream classify - --model "$(emostream model pull stable)"
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    if out is not None and out.exists():
        raise InputError(f"{out} is there already; give a new folder")
    with open_registry(settings) as (location, s3):
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


def _report(channel: str, seen: Channel | None, pointer: Pointer, *, as_json: bool) -> None:
    moved = seen is None or seen.pointer != pointer
    if as_json:
        click.echo(json.dumps(_move_json(channel, pointer, moved=moved), indent=2))
    else:
        _say_moved(channel, pointer, moved=moved)


def _before(pointer: Pointer, *, moved: bool) -> Release | None:
    """Where the channel was before this command; None if it is new."""
    if not moved:
        return pointer.release
    return pointer.history[0].release if pointer.history else None


def _move_json(channel: str, pointer: Pointer, *, moved: bool) -> dict[str, Any]:
    before = _before(pointer, moved=moved)
    return {
        "channel": channel,
        "moved": moved,
        "before": None if before is None else before._asdict(),
        **entry_json(pointer),
    }


def _say_moved(channel: str, pointer: Pointer, *, moved: bool) -> None:
    if not moved:
        click.echo(f"channel {channel} points to {pointer.release} already")
        return
    before = _before(pointer, moved=moved)
    was = "it is new" if before is None else f"before: {before}"
    click.echo(f"channel {channel} now points to {pointer.release} ({was})")
