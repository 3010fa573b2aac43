"""What a package is asked when it is evaluated: texts as they come, and the label that each should get from a head.

A data set may ask more than one question: GoEmotions asks for the emotion and for the sentiment. Only texts whose own
labels map onto a single one of the head's labels are asked about; the others are counted as left out.
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
    """Which label of a head, for some of the texts of a data set.

    Attributes:
        name: the data set's name, and for its second question the head's too, such as ``goemotions-sentiment``.
        data_set: the data set.
        head: the head that is asked.
        labels: what the data set tells apart. The head may know more; these alone compete.
        rows: int64[n], positions of the texts.
        truth: int64[n], for each of them an index into `labels`.
        left_out: how many texts of the data set are not asked about.
    """

    name: str
    data_set: str
    head: str
    labels: tuple[str, ...]
    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    left_out: int


def split_file(folder: Path, data_set: DataSet, split: str) -> Path:
    """Where a data set's split is: `split` stands in place of ``validation`` in the file's name."""
    return folder / data_set.validation.replace("validation", split)


def read_sets(folder: Path, split: str, names: Iterable[str] = SET_NAMES) -> Examples:
    """Read a split of some data sets, texts as they come.

    Args:
        folder: The data folder.
        split: One of `SPLITS`.
        names: Which data sets.

    Raises:
        OSError: A file cannot be read.
        TrainingError: A file is not UTF-8, or a line is malformed; the message names the file and the line.
    """
    wanted = set(names)
    return concatenate([s.read(split_file(folder, s, split), prepare=str) for s in SETS if s.name in wanted])


def questions(examples: Examples) -> Iterator[Question]:
    """What the data sets ask, in their order; a set without rows asks nothing."""
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
    """Read texts of one's own, lines of ``text<TAB>label`` with the labels of a head; blank lines are passed over.

    Returns:
        The texts as they come, and the question about them; its name is the file's without the suffix.

    Raises:
        OSError: The file cannot be read.
        TrainingError: It is not UTF-8, a line has no tab or a label that the head does not have, or there is no line.
    """
    texts: list[str] = []
    truth: list[int] = []
    # Split on "\n" alone: a text may hold other characters that str.splitlines takes for the end of a line.
    for number, line in enumerate(read_utf8(file, "utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        text, tab, label = line.rstrip("\r").rpartition("\t")
        if not tab:
            raise TrainingError(f"{file}, line {number}: not text<TAB>label: {line[:80]!r}")
        if label not in head.labels:
            raise TrainingError(
                f"{file}, line {number}: {label[:80]!r} is no label of head {head.name!r}, which has "
                f"{', '.join(head.labels)}"
            )
        texts.append(text)
        truth.append(head.labels.index(label))
    if not texts:
        raise TrainingError(f"{file} holds no texts")
    rows = np.arange(len(texts))
    return texts, Question(file.stem, file.stem, head.name, head.labels, rows, np.array(truth, np.int64), 0)
