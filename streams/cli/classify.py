"""`emostream classify`: classify a file or standard input offline, to JSON lines or readable ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from itertools import islice

import click

from models.text.onnx_classifier import OnnxClassifier
from streams.cli.common import console, progress_console, read_settings
from streams.cli.inputs import input_options, input_spec, print_refusals, progress_bar, stdout_is_terminal
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.cli.render import prediction_text
from streams.errors import InputError
from streams.ingest.lines import open_lines, size_of
from streams.ingest.reading import read_rows
from streams.ingest.rows import InputFormat
from streams.ingest.tally import Tally
from streams.ops.bi.palette import Colours
from streams.ops.classify import RowPrediction, batches, load_classifier, prediction_document, with_predictions


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
        rows = islice(tally.accepted(read_rows(lines, spec)), limit)
        for batch in batches(rows, lines, settings.batch_max):
            with quiet_pipe():
                write(with_predictions(classifier, batch))
            done += len(batch)
            bar.set(done if limit else lines.position, done)
    print_refusals(notes, tally)
    if not done:
        raise InputError(f"{lines.name} holds no text that can be classified")
    return 1 if strict and tally.total else 0


def _write_json(rows: Iterable[RowPrediction]) -> None:
    for row, prediction in rows:
        sys.stdout.write(printable_json(json.dumps(prediction_document(row, prediction), ensure_ascii=False)) + "\n")


def _text_writer(classifier: OnnxClassifier) -> Callable[[Iterable[RowPrediction]], None]:
    out = console()
    colours = Colours(classifier.heads[0].labels)
    has_tiers = len(classifier.manifest.tiers) > 1

    def write(rows: Iterable[RowPrediction]) -> None:
        for row, prediction in rows:
            sentiment = None if prediction.sentiment is None else prediction.sentiment.score
            line = prediction_text(prediction.label, prediction.confidence, sentiment, colours)
            if has_tiers:
                line.append(f"{prediction.model.tier} ", style="dim")
            out.print(line.append(printable(row.text)), soft_wrap=True)

    return write
