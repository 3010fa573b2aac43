"""`emostream evaluate`: measure a model package the way it is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
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

# Texts timed in a round: enough for a steady figure, and a few seconds for a slow model.
_TIMED_POSTS = 2000


@click.command(
    name="evaluate",
    short_help="Measure a model package as it is served.",
    epilog="Exit code: 0; 1 if the package, the data or an option cannot be used.",
)
@click.option(
    "--package",
    metavar="FOLDER|URI",
    help="Model package: a folder, or s3://bucket/prefix. Default: the bundled one.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the public data sets: emotion/, goemotions/, tweets/.",
)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default=SPLITS[0],
    show_default=True,
    help="Which part of them, such as emotion/test.tsv.",
)
@click.option(
    "--set", "names", type=click.Choice(SET_NAMES), multiple=True, help="Only this data set; may be repeated."
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Texts of your own instead: a text, a tab and its label a line.",
)
@click.option("--head", default=EMOTION, show_default=True, help="With --file: the head whose labels those are.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="ONNX Runtime's threads for one run."
)
@click.option(
    "--rounds", type=click.IntRange(min=0), default=5, show_default=True, help="Rounds of timing; 0 for none."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to draw the confusion matrices into, a PNG for each data set.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    help="Where to write a model card: a file, or a folder for MODEL_CARD.md.",
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
    """Measure a model package as it is served: whole texts in, through all its tiers.

    For each data set: accuracy, macro-F1, macro-recall, precision, recall and F1 of each label, how far confidence can
    be trusted (ECE), who answered in a cascade; and for the package its size and its speed, tokenisation included. A
    data set that knows only some of the labels is answered among those. docs/models.md says how labels map.

    \b
    emostream evaluate --data DATA
    emostream evaluate --data DATA --package my-model --set goemotions --plots plots
    emostream evaluate --file mine.tsv --head sentiment --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if (data is None) == (file is None):
        raise click.UsageError("give either --data (the public data sets) or --file (texts of your own)")
    if file is not None and names:
        raise click.UsageError("--set chooses among the data sets of --data; it does not go with --file")
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
        with _posts_bar(len(texts)) as told:
            report = evaluate(classifier, examples, split=split, skip=not names, on_posts=told)
    else:
        classifier = load_classifier(settings, package)
        texts, report = _of_file(classifier, Path(file or ""), head)
    speed = _timed(classifier, texts, rounds) if rounds else None
    skipped = missing | dict(report.skipped)
    # First of all: what cannot be drawn or written later must not cost the figures.
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
    with _posts_bar(len(texts)) as told:
        return texts, ask(classifier, texts, [question], split=file.name, on_posts=told)


def _timed(classifier: OnnxClassifier, texts: Sequence[str], rounds: int) -> Speed:
    with progress_bar(progress_console(), "rounds timed", rounds + 1, show=True) as bar:
        done = iter(range(1, rounds + 2))

        def turn() -> None:
            number = next(done)
            bar.set(number, number)

        return measure({"package": served(classifier)}, spread(texts, _TIMED_POSTS), rounds, turn)["package"]


def _draw(report: Report, folder: Path) -> None:
    from models.training.confusion import draw_all  # noqa: PLC0415 - loads matplotlib

    try:
        drawn = draw_all(report, folder)
    except OSError as exc:
        raise InputError(f"the pictures cannot be written to {folder}: {exc.strerror or exc}") from exc
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
