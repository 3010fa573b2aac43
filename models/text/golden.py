"""Golden posts: texts in a package with the answers that the model gave when the package was sealed.

A checksum proves that the bytes are right. Golden posts prove that this machine computes the same answers from them.
They are checked before a model takes over, so that a processor or a library that computes other answers is noticed.

The file has JSON lines: ``{"text": …, "scores": {head: {label: probability}}}``.
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
"""Greatest allowed change of a probability. Other processors change it by some thousandths, a wrong model by tenths."""

# Another processor may give a text another answer if two labels are almost equally probable, or if the confidence is
# close to a tier's threshold. Such texts do not become golden posts.
_MIN_LEAD: Final = 0.1
_NEAR_THRESHOLD: Final = 0.02
_SHOWN_CHARS: Final = 40
_DECIMALS: Final = 4


class GoldenPost(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    scores: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]]


def check_golden(classifier: OnnxClassifier, package: ModelPackage) -> int:
    """Classify the package's golden posts, and compare the answers with those in the file.

    Args:
        classifier: The loaded package.
        package: The package.

    Returns:
        The number of posts that were checked; 0 if the package has none.

    Raises:
        ModelPackageError: The file is malformed or empty, a post gets another label in some head, or a probability
            differs by more than `TOLERANCE`. The message names the first such post.
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

    Texts to which another processor may give another answer are left out. These are texts whose two best labels are
    less than 0.1 apart, and texts with a confidence within 0.02 of a tier's threshold. For a threshold above 0.96 the
    distance is half of what is left to 1.

    Args:
        classifier: The model.
        texts: Posts before normalisation.
        file: The file to write; an existing one is replaced.

    Returns:
        The number of posts that were written.

    Raises:
        ModelPackageError: All texts were left out, or the file cannot be written.
    """
    answers = classifier.classify(texts).probabilities
    clear = _clear(classifier, texts, answers)
    lines = [
        GoldenPost(
            text=text,
            scores={head.name: _scores(head, answers[head.name][row]) for head in classifier.manifest.heads},
        ).model_dump_json()
        for row, text in enumerate(texts)
        if clear[row]
    ]
    if not lines:
        raise ModelPackageError(
            f"{file}: the model gives none of the {len(texts)} texts a clear answer, which golden posts need"
        )
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be written: {exc.strerror}") from exc
    return len(lines)


def read_golden(file: Path) -> list[GoldenPost]:
    """Read the golden posts of a file.

    Raises:
        ModelPackageError: The file cannot be read, a line is malformed, or the file is empty.
    """
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc
    posts = []
    # Split as bytes: bytes.splitlines takes only \n, \r and \r\n for the end of a line, and a text may hold other ones.
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            posts.append(GoldenPost.model_validate_json(line))
        except ValidationError as exc:
            raise ModelPackageError(f"{file}, line {number} is not a golden post: {first_problem(exc)}") from exc
    if not posts:
        raise ModelPackageError(f"{file} contains no golden posts")
    return posts


def _compare(head: Head, expected: Mapping[str, float], row: NDArray[np.float32], where: str) -> None:
    if expected.keys() != set(head.labels):
        raise ModelPackageError(f"{where} has other labels than head {head.name!r}: {', '.join(expected)}")
    wanted = np.array([expected[label] for label in head.labels])
    label, best = head.labels[int(wanted.argmax())], head.labels[int(row.argmax())]
    if label != best:
        raise ModelPackageError(
            f"{where}: head {head.name!r} answers {best!r}, but answered {label!r} when it was sealed"
        )
    difference = abs(row - wanted)
    # `<=` and not `>`, so that NaN fails too.
    if not bool((difference <= TOLERANCE).all()):
        worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
        raise ModelPackageError(
            f"{where}: head {head.name!r} gives {head.labels[worst]!r} {row[worst]:.3f}, but gave {wanted[worst]:.3f} "
            f"when it was sealed; a difference of {TOLERANCE} is allowed"
        )


def _clear(classifier: OnnxClassifier, texts: Sequence[str], answers: Probabilities) -> NDArray[np.bool_]:
    """Return, as bool[texts], which texts should get the same answer on every processor; `answers` are those here."""
    clear = np.ones(len(texts), np.bool_)
    for index, tier in enumerate(classifier.manifest.tiers):
        for head, probabilities in classifier.classify_with(index, texts).items():
            best = np.sort(probabilities, axis=1)
            if head in tier.thresholds:
                threshold = tier.thresholds[head]
                # A confidence above a threshold close to one must be possible.
                near = min(_NEAR_THRESHOLD, max(0.0, 1 - threshold) / 2)
                clear &= abs(best[:, -1] - threshold) > near
    for probabilities in answers.values():
        best = np.sort(probabilities, axis=1)
        clear &= best[:, -1] - best[:, -2] > _MIN_LEAD
    return clear


def _scores(head: Head, row: NDArray[np.float32]) -> dict[str, float]:
    rounded = np.round(row.astype(np.float64), _DECIMALS).clip(0, 1)
    return dict(zip(head.labels, rounded.tolist(), strict=True))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")
