"""`emostream train`."""

from __future__ import annotations

from pathlib import Path

import click

from streams.cli.common import console
from streams.errors import EmostreamError


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the data sets: emotion/, goemotions/, tweets/.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="the one that the bundled model was made with",
    help="What to train, as TOML.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".emostream/training"),
    show_default=True,
    help="Folder for checkpoints and finished networks; a run that was stopped goes on from here.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the package to write.",
)
@click.option("--replace", is_flag=True, help="Replace a package that is already there.")
@click.option("--threads", type=click.IntRange(min=1), show_default="all cores", help="Threads to compute with.")
@click.option(
    "--bf16/--no-bf16",
    default=None,
    show_default="where the processor has AVX512_BF16",
    help="Matrix products in bfloat16: 1.5 times as fast.",
)
@click.option(
    "--teacher", metavar="NAME", help="Pack this teacher of the configuration alone, in FP32, to compare with."
)
@click.option("--compile", "compiled", is_flag=True, help="Fuse with torch.compile; needs a C++ compiler.")
def train(
    *,
    data: Path,
    config: Path | None,
    work: Path,
    out: Path,
    replace: bool,
    threads: int | None,
    bf16: bool | None,
    compiled: bool,
    teacher: str | None,
) -> None:
    """Train a model and write it as a package.

    Trains the teachers, asks them about every text, distils the encoder and the cascade's first tier from them, fuses
    and quantises both, fits temperatures and thresholds, measures the package as it is served, and seals it with its
    card. The default configuration takes three to five hours on two cores; docs/models.md has the times of the
    stages. Ctrl-C loses some minutes at most: the same command goes on where it was.

    \b
    Needs PyTorch and more:   make setup-train
    Then:                     .venv-train/bin/emostream train --data DATA --out my-model
                              .venv-train/bin/emostream evaluate --package my-model --data DATA
                              emostream model publish my-model --channel candidate
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    try:
        from models.training.run import run_training  # noqa: PLC0415 - loads torch
    except ModuleNotFoundError as exc:
        raise EmostreamError(
            f"training needs {exc.name}; run `make setup-train` and use .venv-train/bin/emostream, "
            "or `pip install 'emostream[train]'`"
        ) from exc
    try:
        run_training(
            data=data,
            config_file=config,
            work=work,
            out=out,
            replace=replace,
            threads=threads,
            bf16=bf16,
            compiled=compiled,
            console=console(),
            teacher=teacher,
        )
    except OSError as exc:
        raise EmostreamError(str(exc)) from exc
