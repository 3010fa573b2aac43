"""Measure a finished package the way it will be served: through `OnnxClassifier`, on a validation split.

python -m models.training.evaluate --package models/bundled/emotion-minilm-l6 --data DATA
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import precision_recall_fscore_support

from models.classifier import Classifier, OnnxClassifier
from models.errors import ModelError
from models.training.data import LabelledTexts, read_tsv

_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class LabelScore:
    """Precision, recall and F1 of one label, and how many texts have it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Figures of one head on one data set."""

    rows: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    per_label: tuple[LabelScore, ...]

    def metrics(self, head: str) -> dict[str, float]:
        """The figures by dotted name, as a manifest holds them, to four decimals."""
        figures = {
            f"{head}.accuracy": self.accuracy,
            f"{head}.macro_f1": self.macro_f1,
            f"{head}.calibration_error": self.calibration_error,
            f"{head}.validation_rows": float(self.rows),
        }
        for score in self.per_label:
            figures[f"{head}.precision.{score.label}"] = score.precision
            figures[f"{head}.recall.{score.label}"] = score.recall
            figures[f"{head}.f1.{score.label}"] = score.f1
        return {name: round(value, 4) for name, value in figures.items()}


def evaluate(classifier: Classifier, head: str, data: LabelledTexts) -> Evaluation:
    """Classify `data` and compare one head's most likely label with the true one.

    Raises:
        ValueError: The head's labels are not those of the data, in the same order.
    """
    if classifier.manifest.head(head).labels != data.labels:
        raise ValueError(f"head {head!r} answers other labels than those of the data")
    return scores(classifier.classify(data.texts)[head], np.asarray(data.targets), data.labels)


def scores(probabilities: NDArray[np.float32], targets: NDArray[np.int64], labels: tuple[str, ...]) -> Evaluation:
    """Score probabilities against the truth.

    Args:
        probabilities: float32[rows, labels].
        targets: int64[rows], the index of each row's label.
        labels: The labels' names.
    """
    guessed = probabilities.argmax(1)
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, guessed, labels=range(len(labels)), zero_division=0.0
    )
    return Evaluation(
        rows=len(targets),
        accuracy=float((guessed == targets).mean()),
        macro_f1=float(f1.mean()),
        calibration_error=calibration_error(probabilities, targets),
        per_label=tuple(
            LabelScore(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, label in enumerate(labels)
        ),
    )


def calibration_error(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Expected calibration error (Guo et al. 2017): how far confidence is from accuracy, over 15 equal bins.

    Args:
        probabilities: float32[rows, labels].
        targets: int64[rows].
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == targets
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = (abs((confidence[bins == b] - right[bins == b]).sum()) for b in range(_CALIBRATION_BINS))
    return float(sum(gaps) / len(targets))


def fit_temperature(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The temperature that makes the true labels most likely; changes no answer, only how sure it is.

    Args:
        probabilities: float32[rows, labels] at temperature 1, of texts that were not trained on.
        targets: int64[rows].

    Returns:
        A temperature between 0.25 and 4, to two decimals.
    """
    # The logarithm of a softmax is its logits but for a constant, which the next softmax does not see.
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-12))
    rows = np.arange(len(targets))

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        scaled -= scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[rows, targets]).mean())

    # One dimension and a smooth loss: looking everywhere is simpler than being clever.
    return min((t / 100 for t in range(25, 401)), key=loss)


def table(evaluation: Evaluation, title: str) -> Table:
    """The figures, for a terminal."""
    shown = Table("label", "precision", "recall", "F1", "texts", title=title)
    for score in evaluation.per_label:
        shown.add_row(
            score.label, f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}", str(score.support)
        )
    shown.caption = (
        f"accuracy {evaluation.accuracy:.4f}, macro-F1 {evaluation.macro_f1:.4f}, "
        f"calibration error {evaluation.calibration_error:.3f}, {evaluation.rows} texts"
    )
    return shown


@click.command()
@click.option("--package", type=click.Path(path_type=Path), required=True, help="Folder of the model package.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data sets.")
@click.option("--head", default="emotion", show_default=True)
@click.option("--threads", default=1, show_default=True, help="ONNX Runtime's intra-op threads.")
def main(package: Path, data: Path, head: str, threads: int) -> None:
    """Print the figures of a package on the validation split."""
    try:
        classifier = OnnxClassifier.load(package, threads=threads)
        labels = classifier.manifest.head(head).labels
        evaluation = evaluate(classifier, head, read_tsv(data / head / "validation.tsv", labels))
    except (ModelError, ValueError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    Console().print(table(evaluation, f"{classifier.manifest.name} {classifier.manifest.version}: {head}"))


if __name__ == "__main__":
    main()
