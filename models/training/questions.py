"""The questions of an evaluation: texts before normalisation, and the label that a head should give each of them.

A data set may have two questions: GoEmotions has one for emotion and one for sentiment. A text is used only if its own
labels map onto exactly one label of the head. The other texts are counted as left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.classifier import SENTIMENT
from models.package.manifest import Head
from models.training.data import SET_NAMES, SETS, DataSet, Examples, concatenate, read_utf8
from models.training.errors import TrainingError
from models.training.labels import EMOTIONS, SENTIMENTS
from models.training.metrics import single_emotion, with_sentiment

EMOTION: Final = "emotion"
SPLITS: Final = ("validation", "test")


@dataclass(frozen=True)
class Question:
    """The texts of a data set that have a label for one head, and their labels.

    Attributes:
        name: The data set's name; for its second question with the head's name, such as ``goemotions-sentiment``.
        data_set: The data set.
        head: The head that answers.
        labels: The labels that the data set distinguishes. The head may have more; only these compete.
        rows: int64[n], positions of the texts in the table.
        truth: int64[n], for each text the index of its label in `labels`.
        left_out: Number of texts of the data set that are left out.
    """

    name: str
    data_set: str
    head: str
    labels: tuple[str, ...]
    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    left_out: int


def split_file(folder: Path, data_set: DataSet, split: str) -> Path:
    """Returns the file of a data set's split: the name of the validation file with `split` for ``validation``."""
    return folder / data_set.validation.replace("validation", split)


def read_sets(folder: Path, split: str, names: Iterable[str] = SET_NAMES) -> Examples:
    """Read a split of some data sets, without normalising the texts.

    Args:
        folder: The data folder.
        split: One of `SPLITS`.
        names: The names of the data sets.

    Raises:
        OSError: A file cannot be read.
        TrainingError: A file is not UTF-8, or a line is malformed. The message names the file and the line.
    """
    wanted = set(names)
    return concatenate([s.read(split_file(folder, s, split), prepare=str) for s in SETS if s.name in wanted])


def questions(examples: Examples) -> Iterator[Question]:
    """Yield the questions of the data sets, in the order of the sets. A set without rows has none."""
    for index, name in enumerate(SET_NAMES):
        total = int((examples.source == index).sum())
        title = name
        rows = single_emotion(examples, name)
        if len(rows):
            known = np.flatnonzero(examples.emotion_mask[rows[0]])
            truth = examples.emotion[np.ix_(rows, known)].argmax(1)
            yield Question(title, name, EMOTION, tuple(EMOTIONS[i] for i in known), rows, truth, total - len(rows))
            title = f"{name}-{SENTIMENT}"
        rows = with_sentiment(examples, name)
        if len(rows):
            yield Question(title, name, SENTIMENT, SENTIMENTS, rows, examples.sentiment[rows], total - len(rows))


def read_labelled(file: Path, head: Head) -> tuple[list[str], Question]:
    """Read a user's file with lines of ``text<TAB>label``, with the labels of a head. Blank lines are skipped.

    Returns:
        The texts before normalisation, and the question, whose name is the file's name without its suffix.

    Raises:
        OSError: The file cannot be read.
        TrainingError: The file is not UTF-8 or has no texts, or a line has no tab or a label that the head lacks.
    """
    texts: list[str] = []
    truth: list[int] = []
    # Split on "\n" only: a text may contain other characters that str.splitlines takes for the end of a line.
    for number, line in enumerate(read_utf8(file, "utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        text, tab, label = line.rstrip("\r").rpartition("\t")
        if not tab:
            raise TrainingError(f"{file}, line {number}: not text<TAB>label: {line[:80]!r}")
        if label not in head.labels:
            raise TrainingError(
                f"{file}, line {number}: head {head.name!r} has no label {label[:80]!r}; its labels are: "
                f"{', '.join(head.labels)}"
            )
        texts.append(text)
        truth.append(head.labels.index(label))
    if not texts:
        raise TrainingError(f"{file} contains no texts")
    rows = np.arange(len(texts))
    return texts, Question(file.stem, file.stem, head.name, head.labels, rows, np.array(truth, np.int64), 0)
