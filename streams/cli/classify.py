"""`emostream classify`: classifies a file or standard input without Kafka."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from itertools import islice

import click

from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.cli.common import console, progress_console, read_settings
from streams.cli.inputs import InputOptions, input_options, print_refusals, progress_bar, stdout_is_terminal
from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.cli.render import prediction_text, unsupported_text
from streams.errors import InputError
from streams.ingest.lines import size_of
from streams.ingest.reading import open_input, read_rows
from streams.ingest.rows import InputFormat
from streams.ingest.tally import Tally
from streams.ops.classify import (
    RowPrediction,
    batches,
    load_classifier,
    load_models,
    prediction_document,
    with_predictions,
)


@click.command(
    epilog="Exit code: 0, also if rows were refused; 1 on an error, if no row could be classified, or with --strict if "
    "a row was refused.",
)
@input_options(InputFormat.TEXT)
@click.option(
    "--model",
    metavar="FOLDER|URI",
    show_default="the bundled package",
    help="Model package: a folder, or s3://bucket/prefix of a registry.",
)
@click.option(
    "--as-worker", is_flag=True, help="Use the models that a worker serves: EMOSTREAM_MODEL_URI and EMOSTREAM_MODELS."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N classified rows.")
@click.option("--json/--text", "as_json", default=True, show_default=True, help="Print JSON, or lines for people.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any row was refused.")
def classify(
    *,
    options: InputOptions,
    model: str | None,
    as_worker: bool,
    limit: int | None,
    as_json: bool,
    strict: bool,
) -> int:
    """Classify the posts in FILE, or from standard input (-), without Kafka.

    Prints a JSON line for each post, in the order of the input. It has line (of the input), id, created_at and keywords
    (if the post has them), text, lang, lang_confidence, label, confidence, scores, sentiment (if the model has it) and
    model, with the tier that answered. With --text a line has label, confidence, sentiment from -1 to 1, tier and text.
    If no model reads the language of a post, its label is null, and there is no model; with --text it has the language
    in place of a label. A row that cannot be used is refused: it has no line, and a summary on stderr counts it.

    \b
    Examples:
      echo "what a lovely day" | emostream classify -
      emostream classify posts.jsonl --text | less -R
      emostream classify posts.jsonl --as-worker > emotions.jsonl
      emostream classify tweets.tsv --no-header --map text=column2 --map id=column1
      emostream classify RC_2017-11.zst --shape pushshift --limit 1000
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if as_worker and model is not None:
        raise click.UsageError("give --model or --as-worker, not both")
    settings = read_settings()
    spec = options.spec(settings)
    size = size_of(options.file)
    models = load_models(settings) if as_worker else ModelSet(load_classifier(settings, model))
    write = _write_json if as_json else _text_writer(models)
    notes = progress_console()
    tally = Tally()
    done = 0
    with (
        open_input(options.file, spec) as lines,
        progress_bar(notes, "classified", limit or size, show=not stdout_is_terminal()) as bar,
    ):
        rows = islice(tally.accepted(read_rows(lines, spec)), limit)
        for batch in batches(rows, lines, settings.batch_max):
            with quiet_pipe():
                write(with_predictions(models, batch))
            done += len(batch)
            bar.set(done if limit else lines.position, done)
    print_refusals(notes, tally)
    if not done:
        raise InputError(f"{lines.name} holds no text that can be classified")
    return 1 if strict and tally.total else 0


def _write_json(rows: Iterable[RowPrediction]) -> None:
    for row in rows:
        sys.stdout.write(printable_json(json.dumps(prediction_document(row), ensure_ascii=False)) + "\n")


def _text_writer(models: ModelSet[OnnxClassifier]) -> Callable[[Iterable[RowPrediction]], None]:
    out = console()
    styles = LabelStyles(out, (label for model in models.all for label in model.heads[0].labels))
    has_tiers = any(len(model.manifest.tiers) > 1 for model in models.all)

    def write(rows: Iterable[RowPrediction]) -> None:
        for row, language, prediction in rows:
            if prediction is None:
                line = unsupported_text(language.code)
            else:
                sentiment = None if prediction.sentiment is None else prediction.sentiment.score
                line = prediction_text(prediction.label, prediction.confidence, sentiment, styles)
                if has_tiers:
                    line.append(f"{prediction.model.tier} ", style="dim")
            out.print(line.append(printable(row.text)), soft_wrap=True)

    return write
