"""`emostream model package`: makes a package of any ONNX text classifier."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import click

from models.package.manifest import DEFAULT_LANGUAGES
from models.text.head_spec import HeadSpec
from models.text.normalize import NORMALIZERS
from models.text.packaging import MAX_TOKENS, NOT_STATED, Packaged, PackageSpec, make_package
from streams.cli.common import console, progress_console
from streams.cli.model_common import json_option, megabytes
from streams.cli.output import printable
from streams.ingest.reading import read_texts

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_GOLDEN_MAX_CHARS = 100_000
_SHOWN_LABELS = 12


@click.command()
@click.option("--onnx", type=_FILE, required=True, metavar="FILE", help="ONNX file of the network.")
@click.option("--name", required=True, metavar="NAME", help="Name of the package, such as emotion-small.")
@click.option("--version", "version", required=True, metavar="VERSION", help="Semantic version, such as 1.0.0.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Folder to create.")
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="NAME[:OUTPUT][=LABELS]",
    help="A head: its name, its ONNX output, and its labels in the order of the output's columns, separated by commas. "
    "May be repeated. The first head gives posts their label.  [default: `label`, with the only output and the labels "
    "in config.json; `sentiment` if these are negative, neutral and positive]",
)
@click.option(
    "--values",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="Values of a head's labels, from -1 to 1. The sentiment score of a post is computed from those of the head "
    "`sentiment`.",
)
@click.option("--tokenizer", type=_FILE, metavar="FILE", help="tokenizer.json.  [default: that beside the network]")
@click.option(
    "--config", type=_FILE, metavar="FILE", help="config.json with id2label.  [default: that beside the network]"
)
@click.option(
    "--normalization",
    type=click.Choice(sorted(NORMALIZERS)),
    default="none",
    show_default=True,
    help="Normalization of texts before tokenisation. It must be that of the model's training.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(2),
    default=MAX_TOKENS,
    show_default=True,
    metavar="N",
    help="Longest text in tokens. Longer texts are cut.",
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    default=DEFAULT_LANGUAGES,
    show_default=True,
    metavar="CODE",
    help="Language that the model reads, such as en; * for all. Posts in others get no label. May be repeated.",
)
@click.option("--card", type=_FILE, metavar="FILE", show_default="a short card", help="Model card.")
@click.option(
    "--licence",
    "--license",
    "licence",
    default=NOT_STATED,
    show_default=True,
    metavar="NAME",
    help="Licence of the weights.",
)
@click.option(
    "--base-model", metavar="NAME", show_default="that in config.json", help="Model that this one was made from."
)
@click.option(
    "--golden",
    type=_FILE,
    metavar="FILE",
    help="Texts (.jsonl, .csv, .tsv or .txt) whose answers the package keeps, so that every worker checks its own.",
)
@click.option("--replace", is_flag=True, help="Replace a package that is in the folder of --out.")
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
    languages: tuple[str, ...],
    card: Path | None,
    licence: str,
    base_model: str | None,
    golden: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Make a package of any ONNX text classifier, with its own labels, load it and check that it answers.

    The network takes input_ids and attention_mask, and token_type_ids if it has that input. It gives logits, one output
    for each head. The windows, topics and tables take the labels from the package, so nothing else needs to know them.
    Prints the heads and labels of the package, and notes on what it guessed.

    \b
    Example, an export of a Hugging Face model with tokenizer.json and config.json beside it:
      emostream model package --onnx export/model.onnx --name spam-filter --version 1.0.0 --out spam-filter

    \b
    Example with labels of your own, and sentiment from a second output:
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
        languages=languages,
        golden_texts=tuple(read_texts(golden, text_max_chars=_GOLDEN_MAX_CHARS)) if golden else (),
    )
    made = make_package(given, out, replace=replace)
    if as_json:
        click.echo(json.dumps(package_document(made), ensure_ascii=False))
    else:
        _print_package(made, offered=len(given.golden_texts))


def parse_head(text: str) -> HeadSpec:
    """Parse `NAME[:OUTPUT][=LABELS]`. A label that has a comma is in double quotes.

    Raises:
        BadParameter: `text` does not have this form.
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
    """Returns the heads with their values, which are given as `NAME=NUMBERS`.

    Raises:
        BadParameter: A string in `given` does not have this form, or names no head.
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
            f"there is no head {', '.join(sorted(unknown))}; add it with --head", param_hint="--values"
        )
    return tuple(HeadSpec(head.name, head.output, head.labels, by_name.get(head.name, head.values)) for head in heads)


def package_document(made: Packaged) -> dict[str, Any]:
    """Returns the JSON document of a package that was made."""
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


def _print_package(made: Packaged, *, offered: int) -> None:
    manifest = made.package.manifest
    size = megabytes(manifest.size)
    out = console()
    out.print(f"packaged {manifest.name} {manifest.version}, {size}, in {made.package.path}", markup=False)
    for head in manifest.heads:
        more = f" and {len(head.labels) - _SHOWN_LABELS} more" if len(head.labels) > _SHOWN_LABELS else ""
        labels = ", ".join(map(printable, head.labels[:_SHOWN_LABELS]))
        values = f", values {', '.join(f'{value:g}' for value in head.values)}" if head.values else ""
        out.print(f"  {head.name} (output {head.output}): {labels}{more}{values}", markup=False)
    out.print(f"  reads {', '.join(manifest.languages)}", markup=False)
    out.print(f"  normalization {manifest.normalization}, {manifest.max_tokens} tokens, licence {manifest.licence}")
    if offered:
        left_out = f"; left out {offered - made.golden} with an uncertain answer" if made.golden < offered else ""
        out.print(f"  {made.golden} golden posts{left_out}")
    notes = progress_console()
    for note in made.notes:
        notes.print(f"note: {note}", markup=False, soft_wrap=True)
    folder = shlex.quote(str(made.package.path))
    out.print(f"the package loads and answers; next: emostream model publish {folder}", markup=False, soft_wrap=True)
