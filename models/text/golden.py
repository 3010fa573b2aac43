"""Golden posts: texts in a package with the answers that the model gave when it was sealed.

A checksum proves that the bytes are right; golden posts prove that this machine makes the same of them. They are
checked before a model takes over, so that a processor or a library that computes otherwise is found by us and not by
readers.
The file is JSON lines: ``{"text": …, "scores": {head: {label: probability}}}``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.classifier import Probabilities
from models.errors import ModelPackageError
from models.package.folder import ModelPackage
from models.package.manifest import Head, first_problem
from models.text.onnx_classifier import OnnxClassifier

TOLERANCE: Final = 0.05
"""How far a probability may move. Between processors it moves by some thousandths; a wrong model moves it by tenths."""

# What another processor might answer otherwise proves nothing: two labels as good as equal, or a confidence right at a
# tier's threshold.
_TOSS_UP: Final = 0.1
_NEAR_THRESHOLD: Final = 0.02
_SHOWN_CHARS: Final = 40
_DECIMALS: Final = 4


class GoldenPost(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    scores: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]]


def check_golden(classifier: OnnxClassifier, package: ModelPackage) -> int:
    """Classify the package's golden posts and compare.

    Args:
        classifier: The package, loaded.
        package: The package.

    Returns:
        How many posts were checked; 0 if the package has none.

    Raises:
        ModelPackageError: The file is malformed or empty, or a post has another label in some head, or a probability
            that moved by more than `TOLERANCE`. Names the first such post.
    """
    file = package.golden_file
    if file is None:
        return 0
    posts = read_golden(file)
    found = classifier.classify([post.text for post in posts]).probabilities
    for row, post in enumerate(posts):
        where = f"{file}, line {row + 1} ({_shown(post.text)})"
        if post.scores.keys() != found.keys():
            raise ModelPackageError(
                f"{where} has scores for {', '.join(post.scores) or 'no head'}; the model's heads are: "
                f"{', '.join(found)}"
            )
        for head in package.manifest.heads:
            _compare(head, post.scores[head.name], found[head.name][row], where)
    return len(posts)


def write_golden(classifier: OnnxClassifier, texts: Sequence[str], file: Path) -> int:
    """Write the answers to `texts` as golden posts.

    Texts that another processor might answer otherwise are left out: those with two best labels less than 0.1 apart,
    and those with a confidence within 0.02 of a tier's threshold (or half of what is above it, where that is less).

    Args:
        classifier: The model.
        texts: Posts as they come, before normalisation.
        file: What to write; replaced if it is there.

    Returns:
        How many posts were written.

    Raises:
        ModelPackageError: None of the texts is fit for it, or the file cannot be written.
    """
    answers = classifier.classify(texts).probabilities
    fit = _fit(classifier, texts, answers)
    lines = [
        GoldenPost(
            text=text,
            scores={head.name: _scores(head, answers[head.name][row]) for head in classifier.manifest.heads},
        ).model_dump_json()
        for row, text in enumerate(texts)
        if fit[row]
    ]
    if not lines:
        raise ModelPackageError(
            f"{file}: of {len(texts)} texts the model is sure of none; golden posts need clear answers"
        )
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be written: {exc.strerror}") from exc
    return len(lines)


def read_golden(file: Path) -> list[GoldenPost]:
    """The golden posts of a file.

    Raises:
        ModelPackageError: A line is malformed, or there is none.
    """
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc
    posts = []
    # As bytes: in JSON lines only a line feed ends a line, and a text may hold other separators.
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            posts.append(GoldenPost.model_validate_json(line))
        except ValidationError as exc:
            raise ModelPackageError(f"{file}, line {number} is not a golden post: {first_problem(exc)}") from exc
    if not posts:
        raise ModelPackageError(f"{file} holds no golden posts")
    return posts


def _compare(head: Head, expected: Mapping[str, float], row: NDArray[np.float32], where: str) -> None:
    if expected.keys() != set(head.labels):
        raise ModelPackageError(f"{where} has other labels than head {head.name!r}: {', '.join(expected)}")
    wanted = np.array([expected[label] for label in head.labels])
    label, best = head.labels[int(wanted.argmax())], head.labels[int(row.argmax())]
    if label != best:
        raise ModelPackageError(f"{where}: head {head.name!r} answers {best!r}, and {label!r} when it was sealed")
    moved = abs(row - wanted)
    # Not `>`: NaN would pass.
    if not bool((moved <= TOLERANCE).all()):
        most = int(np.nan_to_num(moved, nan=np.inf).argmax())
        raise ModelPackageError(
            f"{where}: head {head.name!r} gives {head.labels[most]!r} {row[most]:.3f}, and {wanted[most]:.3f} when it "
            f"was sealed; {TOLERANCE} is allowed"
        )


def _fit(classifier: OnnxClassifier, texts: Sequence[str], answers: Probabilities) -> NDArray[np.bool_]:
    """Which texts any processor should answer alike, bool[texts]; `answers` are those that were given to them."""
    fit = np.ones(len(texts), np.bool_)
    for index, tier in enumerate(classifier.manifest.tiers):
        for head, probabilities in classifier.classify_with(index, texts).items():
            best = np.sort(probabilities, axis=1)
            if head in tier.thresholds:
                threshold = tier.thresholds[head]
                # There must be something left above a threshold close to one.
                near = min(_NEAR_THRESHOLD, max(0.0, 1 - threshold) / 2)
                fit &= abs(best[:, -1] - threshold) > near
    for probabilities in answers.values():
        best = np.sort(probabilities, axis=1)
        fit &= best[:, -1] - best[:, -2] > _TOSS_UP
    return fit


def _scores(head: Head, row: NDArray[np.float32]) -> dict[str, float]:
    rounded = np.round(row.astype(np.float64), _DECIMALS).clip(0, 1)
    return dict(zip(head.labels, rounded.tolist(), strict=True))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")
