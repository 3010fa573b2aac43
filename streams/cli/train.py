"""`emostream train`: trains a model and writes it as a package."""

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
    metavar="FOLDER",
    help="Folder of the public data sets: emotion/, goemotions/, tweets/.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    show_default="that of the bundled model",
    help="Configuration of the training, in TOML.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".emostream/training"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for checkpoints and finished networks. A run continues from what is there.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help="Folder of the package to write.",
)
@click.option("--replace", is_flag=True, help="Replace a package that is in the folder of --out.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", show_default="all cores", help="Threads to use.")
@click.option(
    "--bf16/--no-bf16",
    default=None,
    show_default="where the processor has AVX512_BF16",
    help="Compute matrix products in bfloat16, which is 1.5 times as fast.",
)
@click.option(
    "--teacher", metavar="NAME", help="Package only this teacher of the configuration, in FP32, for a comparison."
)
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile, which needs a C++ compiler.")
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

    Trains the teachers, stores their predictions for every text, and distils the encoder and the first tier of the
    cascade from them. Fuses and quantises both, fits temperatures and thresholds, evaluates the package, and writes it
    with its model card. Prints the progress of each stage. The default configuration takes three to five hours on two
    cores; docs/models.md has the times of the stages. After Ctrl-C the same command continues, and repeats a few
    minutes at most. Training needs PyTorch, which `make setup-train` installs into .venv-train.

    \b
    Example:
      make setup-train
      .venv-train/bin/emostream train --data DATA --out my-model
      .venv-train/bin/emostream evaluate --data DATA --package my-model
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
