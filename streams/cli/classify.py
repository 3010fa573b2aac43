"""`emostream classify`: classify a file or standard input offline, to JSON lines or readable ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import click
from msgspec.structs import asdict

from connectors.s3 import client as s3
from models.classifier import Classifier
from models.package.folder import ModelPackage, bundled_package_path, load_package
from models.registry.cache import resolve
from models.registry.location import S3Location, parse_uri
from models.text.onnx_classifier import OnnxClassifier
from streams.cli.common import console, progress_console, read_settings
from streams.cli.inputs import describe_refusals, input_options, input_spec, progress_bar, stdout_is_terminal
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.cli.render import answer
from streams.connections import model_threads, s3_config
from streams.errors import InputError
from streams.ingest.lines import LineReader, open_lines, size_of
from streams.ingest.reading import read_rows
from streams.ingest.rows import InputFormat, Refusal, Row
from streams.ingest.tally import Tally
from streams.ops.bi.palette import Colours
from streams.pipeline.predictions import Prediction, predict
from streams.settings import Settings

Answered = tuple[Row, Prediction]


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
@click.option("--json/--text", "as_json", default=True, show_default=True, help="JSON lines, or lines for reading.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any row was refused.")
def classify(
    *,
    file: str,
    input_format: str | None,
    columns: dict[str, str],
    header: bool | None,
    model: str | None,
    limit: int | None,
    as_json: bool,
    strict: bool,
) -> int:
    """Classify the posts in FILE, or from standard input (-), without Kafka; JSON lines on stdout, in input order.

    Each line has line (of the input), id (if the row has one), text, label, confidence, scores, sentiment (if the model
    has it) and model, with the tier that answered. With --text a line is: label, confidence, sentiment from -1 to 1,
    tier, text. Refused rows have no line; they are summed up on stderr.

    \b
      echo "what a lovely day" | emostream classify -
      emostream classify posts.jsonl --text | less -R
      emostream classify posts.jsonl > emotions.jsonl
      emostream classify tweets.tsv --no-header --column text=2 --column id=1
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    spec = input_spec(
        file, input_format, columns, header, stdin_format=InputFormat.TEXT, text_max_chars=settings.text_max_chars
    )
    size = size_of(file)
    classifier = load_classifier(settings, model)
    write = _write_json if as_json else _text_writer(classifier)
    notes = progress_console()
    tally = Tally()
    done = 0
    with (
        open_lines(file) as lines,
        progress_bar(notes, "classified", limit or size, show=not stdout_is_terminal()) as bar,
    ):
        rows = islice(accepted(read_rows(lines, spec), tally), limit)
        for batch in batches(rows, lines, settings.batch_max):
            with quiet_pipe():
                write(answered(classifier, batch))
            done += len(batch)
            bar.set(done if limit else lines.position, done)
    describe_refusals(notes, tally)
    if not done:
        raise InputError(f"{lines.name} holds no text that can be classified")
    return 1 if strict and tally.total else 0


def _write_json(rows: Iterable[Answered]) -> None:
    for row, prediction in rows:
        sys.stdout.write(printable_json(json.dumps(json_line(row, prediction), ensure_ascii=False)) + "\n")


def _text_writer(classifier: OnnxClassifier) -> Callable[[Iterable[Answered]], None]:
    out = console()
    colours = Colours(classifier.heads[0].labels)
    has_tiers = len(classifier.manifest.tiers) > 1

    def write(rows: Iterable[Answered]) -> None:
        for row, prediction in rows:
            sentiment = None if prediction.sentiment is None else prediction.sentiment.score
            line = answer(prediction.label, prediction.confidence, sentiment, colours)
            if has_tiers:
                line.append(f"{prediction.model.tier} ", style="dim")
            out.print(line.append(printable(row.text)), soft_wrap=True)

    return write


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


def answered(classifier: Classifier, rows: Sequence[Row]) -> Iterator[Answered]:
    """Each row with what the model says about it."""
    return zip(rows, predict(classifier, [row.text for row in rows]), strict=True)


def json_line(row: Row, prediction: Prediction) -> dict[str, Any]:
    """What is printed for a row."""
    return {
        "line": row.line,
        **({"id": row.values["id"]} if "id" in row.values else {}),
        "text": row.text,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "scores": prediction.scores,
        **({"sentiment": asdict(prediction.sentiment)} if prediction.sentiment is not None else {}),
        "model": asdict(prediction.model),
    }


def load_classifier(settings: Settings, model: str | None) -> OnnxClassifier:
    """The classifier of a package: in S3, in a folder, or the bundled one if `model` is None.

    Raises:
        ModelError: if there is none, or it is damaged.
        ConnectorError: if S3 does not answer, or refuses.
    """
    return OnnxClassifier.load(find_package(settings, model), threads=model_threads(settings))


def find_package(settings: Settings, model: str | None) -> ModelPackage:
    """A package, verified; see `load_classifier`."""
    if model is None:
        return load_package(bundled_package_path())
    location = parse_uri(model)
    if not isinstance(location, S3Location):
        return load_package(location)
    with s3.connect(s3_config(settings)) as connection:
        return resolve(model, connection, settings.model_cache, settings.model_channel)
