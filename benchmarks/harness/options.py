"""Command-line options that several benchmarks share."""

from __future__ import annotations

from pathlib import Path

import click

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="../shared/data",
    help="Folder of the data sets emotion/, goemotions/ and tweets/. The posts' texts are their validation splits.",
)
