"""Training data: labelled texts read from TSV files, split with a seed, and cut into length-bucketed batches."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.normalize import normalize

EMOTIONS: tuple[str, ...] = ("joy", "sadness", "anger", "fear", "love", "surprise")

# Batches are cut from pools of this many batches sorted by length: little padding, and still well shuffled.
_POOL_BATCHES = 50


@dataclass(frozen=True)
class LabelledTexts:
    """Normalised texts and, at the same positions, the index of each one's label in `labels`."""

    texts: tuple[str, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> "LabelledTexts":
        """The rows at these positions, in this order."""
        return LabelledTexts(
            tuple(self.texts[i] for i in indices), tuple(self.targets[i] for i in indices), self.labels
        )


def read_tsv(path: Path, labels: Sequence[str]) -> LabelledTexts:
    r"""Read ``text<TAB>label`` lines and normalise the texts.

    Raises:
        ValueError: A line has no tab or a label outside `labels`; the message names the file and the line.
    """
    index = {label: i for i, label in enumerate(labels)}
    texts: list[str] = []
    targets: list[int] = []
    # Split on "\n" alone: a text may hold other characters that str.splitlines takes for the end of a line.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        text, tab, label = line.rpartition("\t")
        if not tab or label not in index:
            raise ValueError(f"{path}, line {number}: not text<TAB>label with a label of {', '.join(labels)}")
        texts.append(normalize(text))
        targets.append(index[label])
    return LabelledTexts(tuple(texts), tuple(targets), tuple(labels))


def without(data: LabelledTexts, held_out: LabelledTexts) -> LabelledTexts:
    """Drop the rows whose text also stands in `held_out`, so that no figure is measured on a text trained on."""
    seen = set(held_out.texts)
    return data.take([i for i, text in enumerate(data.texts) if text not in seen])


def split_off(data: LabelledTexts, size: int, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
    """Split into (the rest, a random `size` rows), the same way for the same seed."""
    order = list(range(len(data)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a reproducible shuffle, not a secret
    return data.take(order[size:]), data.take(order[:size])


def bucketed_batches(lengths: Sequence[int], batch_size: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield every index once, in batches of texts of similar length, in random order.

    Args:
        lengths: The number of tokens of each text.
        batch_size: Texts in a batch; the last of a pool may be smaller.
        rng: Decides the pools and the order of the batches.
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
