"""`emostream evaluate`: measures the accuracy and the speed of a model package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import click

from models.package.manifest import Manifest
from models.text.onnx_classifier import OnnxClassifier
from models.training.card import model_card
from models.training.data import SET_NAMES
from models.training.evaluate import ask, evaluate
from models.training.questions import EMOTION, SPLITS
from models.training.report import Report, label_table, overview, speed_line
from models.training.speed import Speed, measure, served, spread
from streams.cli.common import console, progress_console, read_settings
from streams.cli.inputs import progress_bar
from streams.cli.output import printable, quiet_pipe
from streams.errors import EmostreamError, InputError
from streams.ops.classify import load_classifier
from streams.ops.evaluate import card_file, read_data_sets, read_labelled_texts

_TIMED_POSTS = 2000
"""Texts in a round of timing: enough for a steady rate, and a few seconds for a slow model."""


@click.command(
    name="evaluate",
    epilog="Exit code: 0; 1 if the package, the data or an option cannot be used.",
)
@click.option(
    "--package",
    metavar="FOLDER|URI",
    show_default="the bundled package",
    help="Model package: a folder, or s3://bucket/prefix of a registry.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder of the public data sets: emotion/, goemotions/, tweets/.",
)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default=SPLITS[0],
    show_default=True,
    help="Part of the data sets to use: `test` reads emotion/test.tsv, and so on.",
)
@click.option(
    "--set", "names", type=click.Choice(SET_NAMES), multiple=True, help="Use only this data set. May be repeated."
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Texts of your own instead of --data. Each line has a text, a tab and a label.",
)
@click.option("--head", default=EMOTION, show_default=True, help="With --file: the head that the labels belong to.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Threads of ONNX Runtime."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Rounds of timing; 0 for no timing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as a JSON object.")
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Draw the confusion matrices into this folder, as a PNG for each data set.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER",
    help="Write a model card to this file, or to MODEL_CARD.md in this folder.",
)
def evaluate_command(
    *,
    package: str | None,
    data: Path | None,
    split: str,
    names: tuple[str, ...],
    file: Path | None,
    head: str,
    threads: int,
    rounds: int,
    as_json: bool,
    plots: Path | None,
    card: Path | None,
) -> None:
    """Measure the accuracy and the speed of a model package, as workers use it: with tokenisation and all tiers.

    Prints for each data set the accuracy, macro-F1, macro-recall, the precision, recall and F1 of each label, the
    calibration of the confidence (ECE), and the share that each tier answered; for the package its size and speed. If a
    data set has only some of the model's labels, only these compete. docs/models.md says how labels map.

    \b
    Examples:
      emostream evaluate --data DATA
      emostream evaluate --data DATA --package my-model --set goemotions --plots plots
      emostream evaluate --file mine.tsv --head sentiment --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if (data is None) == (file is None):
        raise click.UsageError("give either --data (the public data sets) or --file (texts of your own)")
    if file is not None and names:
        raise click.UsageError("--set chooses among the data sets of --data; it cannot be used with --file")
    if plots is not None and find_spec("matplotlib") is None:
        raise EmostreamError(
            "--plots needs matplotlib, which is not installed: `pip install 'emostream[train]'`, or `make setup-train`"
        )
    card_target = None if card is None else card_file(card)
    settings = read_settings(model_threads=threads)
    missing: dict[str, str] = {}
    if data is not None:
        examples, missing = read_data_sets(data, split, names)
        classifier = load_classifier(settings, package)
        texts: Sequence[str] = examples.texts
        with _posts_bar(len(texts)) as on_posts:
            report = evaluate(classifier, examples, split=split, skip=not names, on_posts=on_posts)
    else:
        classifier = load_classifier(settings, package)
        texts, report = _of_file(classifier, Path(file or ""), head)
    speed = _timed(classifier, texts, rounds) if rounds else None
    skipped = missing | dict(report.skipped)
    # The figures are printed first, so that they are not lost if the plots or the card cannot be written.
    with quiet_pipe():
        if as_json:
            click.echo(json.dumps(_as_json(report, skipped, speed, threads, classifier.manifest), indent=2))
        else:
            _print(report, speed, threads, classifier.manifest)
    if not as_json:
        for reason in skipped.values():
            progress_console().print(f"left out: {printable(reason)}", markup=False, soft_wrap=True)
    if plots is not None:
        _draw(report, plots)
    if card_target is not None:
        _write(card_target, model_card(classifier.manifest, report, speed=speed, threads=threads))


def _of_file(classifier: OnnxClassifier, file: Path, head: str) -> tuple[list[str], Report]:
    texts, question = read_labelled_texts(file, classifier.manifest, head)
    with _posts_bar(len(texts)) as on_posts:
        return texts, ask(classifier, texts, [question], split=file.name, on_posts=on_posts)


def _timed(classifier: OnnxClassifier, texts: Sequence[str], rounds: int) -> Speed:
    with progress_bar(progress_console(), "rounds timed", rounds + 1, show=True) as bar:
        numbers = count(1)

        def on_round() -> None:
            number = next(numbers)
            bar.set(number, number)

        return measure({"package": served(classifier)}, spread(texts, _TIMED_POSTS), rounds, on_round)["package"]


def _draw(report: Report, folder: Path) -> None:
    from models.training.confusion import draw_all  # noqa: PLC0415 - loads matplotlib

    try:
        drawn = draw_all(report, folder)
    except OSError as exc:
        raise InputError(f"the plots cannot be written to {folder}: {exc.strerror or exc}") from exc
    progress_console().print(f"drew {len(drawn)} confusion matrices into {folder}", markup=False, soft_wrap=True)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{file} cannot be written: {exc.strerror or exc}") from exc
    progress_console().print(f"wrote {file}", markup=False, soft_wrap=True)


@contextmanager
def _posts_bar(total: int) -> Iterator[Callable[[int], None]]:
    with progress_bar(progress_console(), "evaluated", total, show=True) as bar:
        yield lambda done: bar.set(done, done)


def _as_json(
    report: Report, skipped: dict[str, str], speed: Speed | None, threads: int, manifest: Manifest
) -> dict[str, Any]:
    return report.to_dict() | {
        "skipped": skipped,
        "bytes": manifest.size,
        "speed": None if speed is None else {"threads": threads, **asdict(speed)},
    }


def _print(report: Report, speed: Speed | None, threads: int, manifest: Manifest) -> None:
    out = console()
    for table in overview(report):
        out.print(table)
    for score in report.scores:
        out.print(label_table(score))
    if speed is not None:
        out.print(speed_line(speed, threads, manifest.size), soft_wrap=True)
    else:
        out.print(f"{manifest.size / 1e6:.1f} MB")
