"""`emostream model`: the commands for the model registry on S3. Each kind of command has a module of its own."""

from __future__ import annotations

from typing import Final

import click

from streams.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Final = {
    "list": LazyCommand(
        "streams.cli.model_list", "list_models", "List the versions and the channels that point to them."
    ),
    "show": LazyCommand("streams.cli.model_list", "show", "Show a version, or the history of a channel."),
    "package": LazyCommand("streams.cli.model_package", "package", "Make a package of any ONNX text classifier."),
    "publish": LazyCommand("streams.cli.model_change", "publish", "Upload a package and move a channel to it."),
    "promote": LazyCommand("streams.cli.model_change", "promote", "Move a channel to a version in the registry."),
    "rollback": LazyCommand("streams.cli.model_change", "rollback", "Move a channel back to an earlier version."),
    "pull": LazyCommand("streams.cli.model_change", "pull", "Download a version and verify its files."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def model() -> None:
    """Manage the models in a registry on S3: that of EMOSTREAM_MODEL_URI, or of --uri.

    A version is a package that never changes. A channel is a name that points to a version. Workers use the version
    that the channel EMOSTREAM_MODEL_CHANNEL points to, and change to another one without a restart when the channel is
    moved.

    \b
    Example:
      emostream model list
      emostream model publish my-model/ --channel candidate
      emostream model promote candidate --to stable
      emostream model rollback stable
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
