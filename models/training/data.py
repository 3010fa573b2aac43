"""Training data: reads the public data sets into one table of targets, splits it with a seed, and makes batches.

A data set teaches only the labels that it distinguishes. Each text has a target distribution over the emotions, and a
mask of the emotions that its data set distinguishes; the softmax of its loss runs over these only. If a data set has no
emotion labels, or no sentiment labels, its texts have no target there.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.text.normalize import normalize
from models.training.errors import TrainingError
from models.training.labels import EMOTIONS, GO_EMOTIONS, SARAVIA, SENTIMENTS, TWEET_EVAL, sentiment_of

Logits = dict[str, NDArray[np.float32]]
"""The logits of a network for some rows: for each head by name, float32[rows, labels]."""

NO_TARGET: Final = -1
"""The sentiment of a text without a sentiment label."""

_LINK_OR_HANDLE: Final = re.compile(r"\bhttp\b|@user\b")
_WORD: Final = re.compile(r"\w+")
_SHARED_WORDS: Final = 8

_POOL_BATCHES: Final = 50
"""Number of batches in a pool whose texts are sorted by length. Batches then have little padding and are still
shuffled."""


@dataclass(frozen=True)
class Examples:
    """Normalised texts and their targets, row by row.

    Attributes:
        texts: The texts.
        emotion: float32[rows, 8], a distribution over `EMOTIONS`, or zeros if there is no target.
        emotion_mask: bool[rows, 8], the emotions that the text's data set distinguishes.
        sentiment: int64[rows], an index into `SENTIMENTS`, or `NO_TARGET`.
        source: int64[rows], the text's data set as an index into `SETS`.
    """

    texts: tuple[str, ...]
    emotion: NDArray[np.float32]
    emotion_mask: NDArray[np.bool_]
    sentiment: NDArray[np.int64]
    source: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Examples":
        """Returns the rows at these positions, in this order."""
        at = np.asarray(rows, np.int64)
        return Examples(
            tuple(self.texts[i] for i in at.tolist()),
            self.emotion[at],
            self.emotion_mask[at],
            self.sentiment[at],
            self.source[at],
        )

    def rows_of(self, *data_sets: str) -> NDArray[np.int64]:
        """Returns the positions of the rows of some data sets, given by name."""
        return np.flatnonzero(np.isin(self.source, [SET_NAMES.index(name) for name in data_sets]))

    def of(self, *data_sets: str) -> "Examples":
        """Returns the rows of some data sets, given by name, in their order."""
        return self.take(self.rows_of(*data_sets))


@dataclass(frozen=True)
class DataSet:
    """One public data set.

    Attributes:
        name: The data set's name.
        train: The training file, relative to the data folder.
        validation: The validation file, relative to the data folder.
        title: The title with its source, for manifests and cards.
        licence: The terms.
        url: Where the data set is published.
        text_column: The column with the text, from 0.
        emotions: Maps its labels to emotions; None if it has no emotion labels.
        sentiment: Maps a label to a sentiment, or to None; None if it has no sentiment labels.
    """

    name: str
    train: str
    validation: str
    title: str
    licence: str
    url: str
    text_column: int
    emotions: Mapping[str, str] | None
    sentiment: Callable[[str], str | None] | None

    def read(self, file: Path, prepare: Callable[[str], str] = normalize) -> Examples:
        r"""Read a file of this set: tab-separated columns; the last has the labels, separated by commas.

        Labels that map onto several emotions make a uniform distribution over these. If the labels map onto several
        sentiments, the text has no sentiment.

        Args:
            file: The file.
            prepare: Called with each text. `str` leaves texts as they are, for a package that normalises them itself.

        Raises:
            OSError: The file cannot be read.
            TrainingError: The file is not UTF-8, or a line has too few columns or an unknown label. The message names
                the file and the line.
        """
        texts, emotion, sentiment = [], [], []
        # Split on "\n" only: a text may contain other characters that str.splitlines takes for the end of a line.
        for number, line in enumerate(read_utf8(file).split("\n"), start=1):
            if not line:
                continue
            columns = line.split("\t")
            labels = columns[-1].split(",")
            try:
                if len(columns) <= self.text_column + 1:
                    raise KeyError
                emotion.append(self._emotion(labels))
                sentiment.append(self._sentiment(labels))
            except KeyError:
                raise TrainingError(
                    f"{file}, line {number}: not a line of the data set {self.name}: {line[:80]!r}"
                ) from None
            texts.append(prepare("\t".join(columns[self.text_column : -1])))
        known = set((self.emotions or {}).values())
        mask = np.array([label in known for label in EMOTIONS])
        return Examples(
            tuple(texts),
            np.array(emotion, np.float32).reshape(len(texts), len(EMOTIONS)),
            np.tile(mask, (len(texts), 1)),
            np.array(sentiment, np.int64),
            np.full(len(texts), SET_NAMES.index(self.name), np.int64),
        )

    def _emotion(self, labels: Sequence[str]) -> list[float]:
        if self.emotions is None:
            return [0.0] * len(EMOTIONS)
        found = {self.emotions[label] for label in labels}
        return [(label in found) / len(found) for label in EMOTIONS]

    def _sentiment(self, labels: Sequence[str]) -> int:
        if self.sentiment is None:
            return NO_TARGET
        found = {self.sentiment(label) for label in labels}
        (only,) = found if len(found) == 1 else (None,)
        return NO_TARGET if only is None else SENTIMENTS.index(only)


def read_utf8(file: Path, encoding: str = "utf-8") -> str:
    """Returns the text of a file.

    Raises:
        OSError: The file cannot be read.
        TrainingError: The file is not UTF-8.
    """
    try:
        return file.read_text(encoding=encoding)
    except UnicodeDecodeError as exc:
        raise TrainingError(f"{file} is not UTF-8: byte {exc.start} cannot be decoded") from exc


def _itself(label: str) -> str:
    if label not in SENTIMENTS:
        raise KeyError(label)
    return label


SETS: Final = (
    DataSet(
        name="emotion",
        train="emotion/train.tsv",
        validation="emotion/validation.tsv",
        title="dair-ai/emotion (Saravia et al. 2018)",
        licence="for education and research",
        url="https://huggingface.co/datasets/dair-ai/emotion",
        text_column=0,
        emotions=SARAVIA,
        sentiment=None,
    ),
    DataSet(
        name="goemotions",
        train="goemotions/train.tsv",
        validation="goemotions/validation.tsv",
        title="GoEmotions (Demszky et al. 2020)",
        licence="CC BY 4.0",
        url="https://github.com/google-research/google-research/tree/master/goemotions",
        text_column=1,
        emotions=GO_EMOTIONS,
        sentiment=sentiment_of,
    ),
    DataSet(
        name="tweets-emotion",
        train="tweets/emotion_train.tsv",
        validation="tweets/emotion_validation.tsv",
        title="TweetEval emotion (SemEval-2018 task 1)",
        licence="for research",
        url="https://huggingface.co/datasets/cardiffnlp/tweet_eval",
        text_column=0,
        emotions=TWEET_EVAL,
        sentiment=None,
    ),
    DataSet(
        name="tweets-sentiment",
        train="tweets/sentiment_train.tsv",
        validation="tweets/sentiment_validation.tsv",
        title="SemEval-2017 task 4A, training sets of 2013 to 2016",
        licence="for research",
        url="https://huggingface.co/datasets/cardiffnlp/tweet_eval",
        text_column=0,
        emotions=None,
        sentiment=_itself,
    ),
)
SET_NAMES: Final = tuple(data_set.name for data_set in SETS)


@dataclass(frozen=True)
class Splits:
    """The rows for training, for calibration and for validation.

    Attributes:
        train: The rows to train on.
        calibration: The rows on which temperatures, thresholds and activation ranges are fitted.
        validation: The rows on which the result is measured.
        dropped: Number of training rows that were dropped because the same post is in a validation split.
    """

    train: Examples
    calibration: Examples
    validation: Examples
    dropped: int


def read_splits(folder: Path, calibration_rows: Mapping[str, int], seed: int) -> Splits:
    """Read every data set below `folder`. No post is in two splits (see `without`).

    Args:
        folder: The data folder.
        calibration_rows: By data set: number of rows of its training file to hold out for calibration.
        seed: Seed of the choice of these rows.

    Raises:
        OSError: A file cannot be read.
        TrainingError: A file is not UTF-8, or a line is malformed.
    """
    validation = concatenate([s.read(folder / s.validation) for s in SETS])
    everything = concatenate([s.read(folder / s.train) for s in SETS])
    train = without(everything, validation)
    rng = random.Random(seed)  # noqa: S311 - a reproducible shuffle, not a secret
    held_out: list[int] = []
    for index, name in enumerate(SET_NAMES):
        rows = np.flatnonzero(train.source == index).tolist()
        held_out += rng.sample(rows, min(len(rows), calibration_rows.get(name, 0)))
    calibration = train.take(sorted(held_out))
    return Splits(without(train, calibration), calibration, validation, len(everything) - len(train))


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Returns the rows of all parts, one part after the other."""
    return Examples(
        tuple(text for part in parts for text in part.texts),
        np.concatenate([part.emotion for part in parts]),
        np.concatenate([part.emotion_mask for part in parts]),
        np.concatenate([part.sentiment for part in parts]),
        np.concatenate([part.source for part in parts]),
    )


def without(data: Examples, held_out: Examples) -> Examples:
    """Returns the rows whose post is not in `held_out`, so that no figure is measured on a post that was trained on.

    Two posts are the same if they have the same words, ignoring case, links and handles, or if they share eight words
    in a row. A third of one validation split is also in its training file, with another link or cut at another place.
    """
    seen = set().union(*(_fingerprints(text) for text in held_out.texts))
    return data.take([i for i, text in enumerate(data.texts) if seen.isdisjoint(_fingerprints(text))])


def _fingerprints(text: str) -> set[tuple[str, ...]]:
    """Returns all words of a text and every eight words in a row; for a text without words, the text itself."""
    words = tuple(_WORD.findall(_LINK_OR_HANDLE.sub(" ", text.casefold())))
    return {words or (text,), *(words[i : i + _SHARED_WORDS] for i in range(len(words) - _SHARED_WORDS + 1))}


def bucketed_batches(lengths: Sequence[int], batch_size: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield batches of texts of similar length, in random order. Every index is in one batch.

    Args:
        lengths: The number of tokens of each text.
        batch_size: Texts in a batch. The last batch of a pool may be smaller.
        rng: Chooses the pools and the order of the batches.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = batch_size * _POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        chunk = sorted(order[start : start + pool], key=lengths.__getitem__)
        batches.extend(chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size))
    rng.shuffle(batches)
    yield from batches
