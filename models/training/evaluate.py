"""Evaluates a package as it is served: classifies texts with all its tiers, and compares answers and labels."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classification, Classifier
from models.errors import ModelPackageError
from models.package.manifest import Manifest
from models.text.onnx_classifier import OnnxClassifier
from models.training import scores
from models.training.data import Examples
from models.training.errors import TrainingError
from models.training.questions import Question, questions
from models.training.report import Report, Score, TierScore
from models.training.speed import batches


def evaluate(
    classifier: OnnxClassifier,
    examples: Examples,
    *,
    split: str = "validation",
    skip: bool = False,
    on_posts: Callable[[int], None] = lambda _: None,
) -> Report:
    """Evaluate a package on rows of the public data sets.

    Args:
        classifier: The package. Its heads may have labels in any order, and additional labels.
        examples: The rows. Their texts may be normalised or not.
        split: The name of the rows in the report.
        skip: Whether to skip a question for which the package lacks a head or a label, with the reason in the report.
        on_posts: Called after each batch with the number of texts that are done.

    Returns:
        The results of every question.

    Raises:
        ModelPackageError: The package lacks a head or a label of a question; with `skip`, of every question.
        TrainingError: There are no texts.
    """
    asked, skipped = [], {}
    for question in questions(examples):
        problem = cannot_answer(classifier.manifest, question)
        if problem is None:
            asked.append(question)
        elif skip:
            skipped[question.name] = problem
        else:
            raise ModelPackageError(problem)
    if skipped and not asked:
        raise ModelPackageError("; ".join(skipped.values()))
    return ask(classifier, examples.texts, asked, split=split, skipped=skipped, on_posts=on_posts)


def ask(
    classifier: OnnxClassifier,
    texts: Sequence[str],
    asked: Sequence[Question],
    *,
    split: str,
    skipped: dict[str, str] | None = None,
    on_posts: Callable[[int], None] = lambda _: None,
) -> Report:
    """Evaluate a package on given questions; see `evaluate` for the arguments.

    Raises:
        ModelPackageError: The package lacks a head or a label of a question.
        TrainingError: There are no texts.
    """
    if not asked:
        raise TrainingError("there are no posts to evaluate")
    manifest = classifier.manifest
    for question in asked:
        if problem := cannot_answer(manifest, question):
            raise ModelPackageError(problem)
    wanted = np.unique(np.concatenate([question.rows for question in asked]))
    found = _classify(classifier, [texts[row] for row in wanted.tolist()], on_posts)
    return Report(
        manifest.name,
        manifest.version,
        split,
        tuple(_score(manifest, question, found, np.searchsorted(wanted, question.rows)) for question in asked),
        skipped or {},
    )


def cannot_answer(manifest: Manifest, question: Question) -> str | None:
    """Returns one line with the reason why a model cannot answer a question; None if it can."""
    model = f"model {manifest.name} {manifest.version}"
    try:
        head = manifest.head(question.head)
    except KeyError:
        heads = ", ".join(head.name for head in manifest.heads)
        return f"{question.data_set}: {model} has no head {question.head!r}; its heads are: {heads}"
    missing = [label for label in question.labels if label not in head.labels]
    if missing:
        return f"{question.data_set}: head {head.name!r} of {model} has no label {', '.join(missing)}"
    return None


def restricted(probabilities: NDArray[np.float32], columns: Sequence[int]) -> NDArray[np.float32]:
    """Returns the probabilities of some labels, on the condition that one of them is right.

    Args:
        probabilities: float32[rows, labels].
        columns: The indices of the labels, in the order of the result.

    Returns:
        float32[rows, len(columns)]. Each row sums to one; it is uniform if all these labels have the probability 0.
    """
    some = probabilities[:, list(columns)]
    total = some.sum(1, keepdims=True)
    alike = np.full_like(some, 1 / len(columns))
    np.divide(some, total, out=alike, where=total > 0)
    return alike


def _classify(classifier: Classifier, texts: Sequence[str], on_posts: Callable[[int], None]) -> Classification:
    parts, done = [], 0
    for batch in batches(texts):
        parts.append(classifier.classify(batch))
        done += len(batch)
        on_posts(done)
    return Classification(
        {head: np.concatenate([part.probabilities[head] for part in parts]) for head in parts[0].probabilities},
        np.concatenate([part.tiers for part in parts]),
        parts[0].tier_names,
    )


def _score(manifest: Manifest, question: Question, found: Classification, rows: NDArray[np.int64]) -> Score:
    head = manifest.head(question.head)
    columns = [head.labels.index(label) for label in question.labels]
    served = found.probabilities[head.name][rows]
    probabilities = restricted(served, columns)
    answers = probabilities.argmax(1)
    confusion = scores.confusion_matrix(question.truth, answers, len(question.labels))
    right = answers == question.truth
    return Score(
        name=question.name,
        data_set=question.data_set,
        head=head.name,
        labels=question.labels,
        rows=len(rows),
        left_out=question.left_out,
        accuracy=scores.accuracy(confusion),
        macro_f1=scores.macro_f1(confusion),
        macro_recall=scores.macro_recall(confusion),
        calibration_error=scores.calibration_error(probabilities, question.truth),
        served_calibration_error=scores.calibration_error(served, np.array(columns)[question.truth]),
        unknown_labels=tuple(label for label in head.labels if label not in question.labels),
        unknown_share=float((~np.isin(served.argmax(1), columns)).mean()),
        per_label=scores.label_scores(confusion, question.labels),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        tiers=_tier_scores(manifest, found.tiers[rows], right),
    )


def _tier_scores(manifest: Manifest, answered_by: NDArray[np.intp], right: NDArray[np.bool_]) -> tuple[TierScore, ...]:
    found = []
    for index, tier in enumerate(manifest.tiers):
        mine = answered_by == index
        found.append(TierScore(tier.name, float(mine.mean()), float(right[mine].mean()) if mine.any() else None))
    return tuple(found)
