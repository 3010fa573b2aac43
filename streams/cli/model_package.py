"""`emostream model package`: a package of any ONNX text classifier."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import click

from models.text.head_spec import HeadSpec
from models.text.normalize import NORMALIZERS
from models.text.packaging import MAX_TOKENS, NOT_STATED, Packaged, PackageSpec, make_package
from streams.cli.common import console, progress_console
from streams.cli.model_common import json_option, megabytes
from streams.cli.output import printable
from streams.errors import InputError
from streams.ingest.lines import open_lines
from streams.ingest.reading import InputSpec, guess_format, read_rows
from streams.ingest.rows import Refusal

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_GOLDEN_MAX_CHARS = 100_000
_SHOWN_LABELS = 12


@click.command(short_help="Make a package of any ONNX text classifier.")
@click.option("--onnx", type=_FILE, required=True, metavar="FILE", help="The network.")
@click.option("--name", required=True, help="The package's name, such as emotion-small.")
@click.option("--version", "version", required=True, help="Its semantic version, such as 1.0.0.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="The folder to make.")
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="NAME[:OUTPUT][=LABELS]",
    help="What it answers: a name, the ONNX output, and the labels in the order of its columns, separated by commas. "
    "The first head gives posts their label. Repeat it for more.  [default: label, from the only output and "
    "config.json; sentiment, if its labels are negative, neutral and positive]",
)
@click.option(
    "--values",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="What a head's labels are worth, -1 to 1. The head called sentiment gives posts their score by them.",
)
@click.option("--tokenizer", type=_FILE, metavar="FILE", help="tokenizer.json.  [default: the one beside the network]")
@click.option("--config", type=_FILE, metavar="FILE", help="config.json with id2label.  [default: as the tokenizer]")
@click.option(
    "--normalization",
    type=click.Choice(sorted(NORMALIZERS)),
    default="none",
    show_default=True,
    help="What is done to a text before it is tokenised: the one that the model was trained with.",
)
@click.option(
    "--max-tokens", type=click.IntRange(2), default=MAX_TOKENS, show_default=True, help="Longer texts are cut."
)
@click.option("--card", type=_FILE, metavar="FILE", help="The model card.  [default: a short one is written]")
@click.option("--licence", "--license", "licence", default=NOT_STATED, show_default=True, help="Of the weights.")
@click.option("--base-model", help="What it was made from.  [default: what config.json says]")
@click.option(
    "--golden",
    type=_FILE,
    metavar="FILE",
    help="Texts (jsonl, csv, tsv, or one a line) whose answers are sealed in, so that every worker can check itself.",
)
@click.option("--replace", is_flag=True, help="Replace a package that is in FOLDER.")
@json_option
def package(
    *,
    onnx: Path,
    name: str,
    version: str,
    out: Path,
    heads: tuple[str, ...],
    values: tuple[str, ...],
    tokenizer: Path | None,
    config: Path | None,
    normalization: str,
    max_tokens: int,
    card: Path | None,
    licence: str,
    base_model: str | None,
    golden: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Make a package of any ONNX text classifier, with its own labels, and try it.

    The network takes input_ids and attention_mask (and token_type_ids, if it wants them) and gives logits, one output
    per head. Windows, topics and tables follow its labels; nothing else has to be told about them.

    \b
    An export of a Hugging Face model, with tokenizer.json and config.json beside it:
      emostream model package --onnx export/model.onnx --name spam-filter --version 1.0.0 --out spam-filter
    With labels of your own, and sentiment from a second output:
      emostream model package --onnx my.onnx --name mood --version 1.0.0 --out mood \\
        --head 'emotion:logits=joy,anger,neutral' \\
        --head 'sentiment:polarity=bad,so-so,good' --values sentiment=-1,0,1
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    given = PackageSpec(
        onnx=onnx,
        name=name,
        version=version,
        heads=with_values([parse_head(text) for text in heads], values),
        tokenizer=tokenizer,
        config=config,
        card=card,
        licence=licence,
        base_model=base_model,
        normalization=normalization,
        max_tokens=max_tokens,
        golden_texts=tuple(_texts(golden)) if golden else (),
    )
    made = make_package(given, out, replace=replace)
    if as_json:
        click.echo(json.dumps(as_document(made), ensure_ascii=False))
    else:
        _describe(made, offered=len(given.golden_texts))


def parse_head(text: str) -> HeadSpec:
    """Read `NAME[:OUTPUT][=LABELS]`; a label with a comma stands in double quotes.

    Raises:
        BadParameter: It is not of that form.
    """
    left, equals, labels = text.partition("=")
    name, colon, output = left.partition(":")
    if not name.strip() or (colon and not output.strip()) or (equals and not labels.strip()):
        raise click.BadParameter(
            f"{text!r} is not NAME[:OUTPUT][=LABELS], such as emotion:logits=joy,anger", param_hint="--head"
        )
    names = tuple(label.strip() for label in next(csv.reader([labels], skipinitialspace=True))) if equals else None
    return HeadSpec(name.strip(), output.strip() or None, names)


def with_values(heads: list[HeadSpec], given: tuple[str, ...]) -> tuple[HeadSpec, ...]:
    """Give heads their values, each as `NAME=NUMBERS`.

    Raises:
        BadParameter: It is not of that form, or there is no such head.
    """
    by_name: dict[str, tuple[float, ...]] = {}
    for text in given:
        name, equals, numbers = text.partition("=")
        try:
            by_name[name.strip()] = tuple(float(number) for number in numbers.split(","))
        except ValueError:
            equals = ""
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=NUMBERS, such as sentiment=-1,0,1", param_hint="--values")
    if unknown := by_name.keys() - {head.name for head in heads}:
        raise click.BadParameter(
            f"there is no head {', '.join(sorted(unknown))}; name it with --head", param_hint="--values"
        )
    return tuple(HeadSpec(head.name, head.output, head.labels, by_name.get(head.name, head.values)) for head in heads)


def _texts(file: Path) -> list[str]:
    spec = InputSpec(guess_format(str(file)), text_max_chars=_GOLDEN_MAX_CHARS)
    texts = []
    with open_lines(str(file)) as lines:
        for row in read_rows(lines, spec):
            if isinstance(row, Refusal):
                raise InputError(f"{file}, line {row.line}: {row.detail}")
            texts.append(row.text)
    if not texts:
        raise InputError(f"{file} holds no text")
    return texts


def as_document(made: Packaged) -> dict[str, Any]:
    """What was made, for programs."""
    manifest = made.package.manifest
    return {
        "folder": str(made.package.path),
        "name": manifest.name,
        "version": manifest.version,
        "bytes": manifest.size,
        "heads": [head.model_dump(mode="json", exclude={"kind"}) for head in manifest.heads],
        "golden": made.golden,
        "notes": made.notes,
    }


def _describe(made: Packaged, *, offered: int) -> None:
    manifest = made.package.manifest
    size = megabytes(manifest.size)
    out = console()
    out.print(f"packaged {manifest.name} {manifest.version}, {size}, in {made.package.path}", markup=False)
    for head in manifest.heads:
        more = f" and {len(head.labels) - _SHOWN_LABELS} more" if len(head.labels) > _SHOWN_LABELS else ""
        labels = ", ".join(map(printable, head.labels[:_SHOWN_LABELS]))
        worth = f", worth {', '.join(f'{value:g}' for value in head.values)}" if head.values else ""
        out.print(f"  {head.name} (output {head.output}): {labels}{more}{worth}", markup=False)
    out.print(f"  normalization {manifest.normalization}, {manifest.max_tokens} tokens, licence {manifest.licence}")
    if offered:
        left_out = f"; {offered - made.golden} too close to call were left out" if made.golden < offered else ""
        out.print(f"  {made.golden} golden posts{left_out}")
    notes = progress_console()
    for note in made.notes:
        notes.print(f"note: {note}", markup=False, soft_wrap=True)
    folder = shlex.quote(str(made.package.path))
    out.print(f"it loads and answers; next: emostream model publish {folder}", markup=False, soft_wrap=True)
