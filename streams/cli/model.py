"""`emostream model`: the registry on S3, its versions and its channels. One module per kind of command."""

from __future__ import annotations

from typing import Final

import click

from streams.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Final = {
    "list": LazyCommand("streams.cli.model_list", "list_models", "List the versions, and what points to them."),
    "show": LazyCommand("streams.cli.model_list", "show", "Show one version or channel in full."),
    "package": LazyCommand("streams.cli.model_package", "package", "Make a package of any ONNX text classifier."),
    "publish": LazyCommand("streams.cli.model_change", "publish", "Upload a package and move a channel to it."),
    "promote": LazyCommand("streams.cli.model_change", "promote", "Move a channel to a version that is there."),
    "rollback": LazyCommand("streams.cli.model_change", "rollback", "Move a channel back to an earlier version."),
    "pull": LazyCommand("streams.cli.model_change", "pull", "Download a version, verified."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def model() -> None:
    """Keep models in the registry on S3 (EMOSTREAM_MODEL_URI).

    A version is a folder that never changes. A channel is a name that points to one, and is moved in one write. Workers
    serve the channel EMOSTREAM_MODEL_CHANNEL and follow it while they run.

    \b
    emostream model list
    emostream model publish my-model/ --channel candidate
    emostream model promote candidate --to stable
    emostream model rollback stable
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
