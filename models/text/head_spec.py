"""The heads of a model from elsewhere: completes what the user says with the network's outputs and `config.json`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from models.classifier import SENTIMENT
from models.errors import ModelPackageError
from models.package.manifest import Head, first_problem
from models.text.network import Outputs

CONFIG: Final = "config.json"
"""The configuration of a Hugging Face model; its `id2label` lists the labels."""

DEFAULT_HEAD: Final = "label"

SENTIMENT_VALUES: Final[Mapping[str, float]] = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
"""The values of labels with these names in the head `sentiment`, if the user gives none."""

_PLACEHOLDER = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class HeadSpec:
    """What the user says about a head. Fields that are None are completed by `resolve_heads`."""

    name: str
    output: str | None = None
    labels: tuple[str, ...] | None = None
    values: tuple[float, ...] | None = None


def resolve_heads(
    specs: Sequence[HeadSpec], outputs: Outputs, labels: tuple[str, ...] | None, notes: list[str]
) -> tuple[Head, ...]:
    """Complete the heads: the output, if there is only one or one with the head's name, and the labels.

    Args:
        specs: The heads as the user gave them. If empty, there is one head for the only output.
        outputs: The network's outputs.
        labels: The labels of `config.json`; None if it has none.
        notes: Sentences about what was assumed are added to this list.

    Raises:
        ModelPackageError: A head cannot be completed, or contradicts itself.
    """
    unnamed = [spec for spec in specs if spec.labels is None]
    if len(unnamed) > 1:
        raise ModelPackageError(
            f"the heads {', '.join(spec.name for spec in unnamed)} have no labels; {CONFIG} has those of one head only"
        )
    heads = []
    for spec in specs or (_only_head(labels),):
        output = _output_of(spec, outputs)
        if spec.labels is None and labels and all(_PLACEHOLDER.fullmatch(label) for label in labels):
            notes.append(f"{CONFIG} has only placeholders ({labels[0]}, …) for labels; give the labels with --head")
        names = spec.labels or labels
        if names is None:
            width = outputs[output]
            count = "" if width is None else f" (there are {width})"
            raise ModelPackageError(
                f"the labels of head {spec.name!r} are not known, and no {CONFIG} with id2label is beside the network; "
                f"give them in the order of the output's columns{count}: --head '{spec.name}:{output}=first,second,…'"
            )
        heads.append(_head(spec, output, names, notes))
    return tuple(heads)


def _only_head(labels: tuple[str, ...] | None) -> HeadSpec:
    """Returns the head if the user gave none: `sentiment` if the labels are sentiments, else `label`."""
    is_sentiment = labels is not None and {label.lower() for label in labels} <= SENTIMENT_VALUES.keys()
    return HeadSpec(SENTIMENT if is_sentiment else DEFAULT_HEAD)


def _head(spec: HeadSpec, output: str, labels: tuple[str, ...], notes: list[str]) -> Head:
    values = spec.values
    if values is None and spec.name == SENTIMENT:
        guessed = [SENTIMENT_VALUES.get(label.lower()) for label in labels]
        if None not in guessed:
            values = tuple(value for value in guessed if value is not None)
            notes.append(
                f"sentiment: {', '.join(labels)} have the values {', '.join(f'{value:g}' for value in values)}"
            )
        else:
            notes.append(
                "sentiment: its labels have no values, so posts get no sentiment score; give them with --values"
            )
    try:
        return Head(name=spec.name, labels=labels, output=output, values=values)
    except ValidationError as exc:
        raise ModelPackageError(f"head {spec.name!r}: {first_problem(exc)}") from exc


def _output_of(spec: HeadSpec, outputs: Outputs) -> str:
    if spec.output is not None:
        if spec.output not in outputs:
            raise ModelPackageError(f"the network has no output {spec.output!r}; its outputs are: {', '.join(outputs)}")
        return spec.output
    if spec.name in outputs:
        return spec.name
    if len(outputs) == 1:
        return next(iter(outputs))
    raise ModelPackageError(
        f"the network has several outputs ({', '.join(outputs)}); say which one is head {spec.name!r}: "
        f"--head '{spec.name}:{next(iter(outputs), 'output')}'"
    )


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Returns the labels of a `config.json` in the order of the columns; None if it has no labels.

    Args:
        config: The content of `config.json`.

    Raises:
        ModelPackageError: `id2label` does not map the numbers from 0 on to labels.
    """
    by_id = config.get("id2label")
    if by_id is None:
        return None
    wanted = [str(number) for number in range(len(by_id))] if isinstance(by_id, dict) else []
    if not wanted or set(by_id) != set(wanted) or not all(isinstance(label, str) for label in by_id.values()):
        raise ModelPackageError(f"id2label in {CONFIG} does not map the numbers from 0 on to labels")
    return tuple(by_id[number] for number in wanted)
