"""`emostream classify`: classify a file or standard input offline, to JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import click

from connectors import s3
from models.classifier import Classifier, OnnxClassifier
from models.cores import available_cores
from models.errors import ModelPackageError
from models.package import ModelPackage, bundled_package_path, load_package
from models.registry import parse_uri, resolve
from streams.cli.common import progress_console, read_settings
from streams.cli.inputs import describe_refusals, input_options, input_spec, progress_bar, stdout_is_terminal
from streams.cli.output import printable_json, quiet_pipe
from streams.errors import InputError
from streams.inputs import InputFormat, LineReader, Refusal, Row, Tally, open_lines, read_rows, size_of
from streams.settings import Settings
from streams.verdict import verdicts
from streams.wiring import s3_config

EMOTION_HEAD = "emotion"


@click.command(
    short_help="Classify a file offline, to JSON lines.",
    epilog="Exit code: 0, also if rows were refused; 1 on an error, if nothing could be classified, or if a row was "
    "refused and --strict is given.",
)
@input_options(InputFormat.TEXT)
@click.option(
    "--model", metavar="URI|FOLDER", help="Model package: s3://bucket/prefix or a folder. Default: the bundled one."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N rows.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any row was refused.")
def classify(
    *,
    file: str,
    input_format: str | None,
    columns: dict[str, str],
    header: bool | None,
    model: str | None,
    limit: int | None,
    strict: bool,
) -> int:
    """Classify the posts in FILE, or from standard input (-), without Kafka; JSON lines on stdout, in input order.

    Each line has line (of the input), id (if the row has one), text, label, confidence, scores and model. Refused rows
    have no line; they are summed up on stderr.

    \b
      echo "what a lovely day" | emostream classify -
      emostream classify posts.jsonl > emotions.jsonl
      emostream classify tweets.tsv --no-header --column text=2 --column id=1
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    spec = input_spec(
        file, input_format, columns, header, stdin_format=InputFormat.TEXT, text_max_chars=settings.text_max_chars
    )
    size = size_of(file)
    classifier = load_classifier(settings, model)
    console = progress_console()
    tally = Tally()
    done = 0
    with (
        open_lines(file) as lines,
        progress_bar(console, "classified", limit or size, show=not stdout_is_terminal()) as bar,
    ):
        rows = islice(accepted(read_rows(lines, spec), tally), limit)
        for batch in batches(rows, lines, settings.batch_max):
            _write(classified(classifier, batch))
            done += len(batch)
            bar.set(done if limit else lines.position, done)
    describe_refusals(console, tally)
    if not done:
        raise InputError(f"{lines.name} holds no text that can be classified")
    return 1 if strict and tally.total else 0


def _write(answers: Iterable[dict[str, Any]]) -> None:
    with quiet_pipe():
        for answer in answers:
            sys.stdout.write(printable_json(json.dumps(answer, ensure_ascii=False)) + "\n")


def accepted(items: Iterator[Row | Refusal], tally: Tally) -> Iterator[Row]:
    """The rows; refusals are counted."""
    for item in items:
        if isinstance(item, Refusal):
            tally.add(item)
        else:
            yield item


def batches(rows: Iterator[Row], lines: LineReader, size: int) -> Iterator[list[Row]]:
    """Batches of up to `size` rows; a smaller one as soon as the next line would have to be waited for."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size or lines.would_wait():
            yield batch
            batch = []
    if batch:
        yield batch


def classified(classifier: Classifier, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """What is printed for each row."""
    manifest = classifier.manifest
    head = next((head for head in manifest.heads if head.name == EMOTION_HEAD), None)
    if head is None:
        raise ModelPackageError(f"model {manifest.name} {manifest.version} has no head {EMOTION_HEAD!r}")
    model = {"name": manifest.name, "version": manifest.version}
    probabilities = classifier.classify([row.text for row in rows])[head.name]
    for row, verdict in zip(rows, verdicts(probabilities, head.labels), strict=True):
        identity = {"id": row.values["id"]} if "id" in row.values else {}
        yield {
            "line": row.line,
            **identity,
            "text": row.text,
            "label": verdict.label,
            "confidence": verdict.confidence,
            "scores": verdict.scores,
            "model": model,
        }


def load_classifier(settings: Settings, model: str | None) -> OnnxClassifier:
    """The classifier of a package: in S3, in a folder, or the bundled one if `model` is None.

    Raises:
        ModelError: if there is none, or it is damaged.
        ConnectorError: if S3 does not answer, or refuses.
    """
    threads = settings.model_threads or available_cores()
    return OnnxClassifier.load(_package(settings, model), threads=threads)


def _package(settings: Settings, model: str | None) -> ModelPackage:
    if model is None:
        return load_package(bundled_package_path())
    if not model.startswith("s3://"):
        return resolve(model, None, settings.model_cache)
    parse_uri(model)
    with s3.connect(s3_config(settings)) as connection:
        return resolve(model, connection, settings.model_cache.expanduser())
