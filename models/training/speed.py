"""Measures how fast classifiers answer texts, on a machine that is also used by other programs.

The contestants take turns in each round, so that the load of other programs affects all of them, and the median round
counts. Wall time is what a user notices. Processor time (user and system, of all threads) hardly depends on other
programs.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classifier
from models.errors import ModelError

BATCH: Final = 512
"""Texts in a call: the default size of a worker's batches."""

Contestant = Callable[[Sequence[str]], NDArray[np.integer[Any]]]
"""A classifier that is measured: takes texts, tokenises them, and returns the index of a label for each."""


@dataclass(frozen=True)
class Speed:
    """The speed of one contestant.

    Attributes:
        posts: Texts in a round.
        rounds: Number of rounds.
        per_second: Texts per second of wall time in the median round.
        slowest: Texts per second in the slowest round.
        fastest: Texts per second in the fastest round.
        cpu_us: Microseconds of processor time per text in the median round.
    """

    posts: int
    rounds: int
    per_second: float
    slowest: float
    fastest: float
    cpu_us: float


def measure(
    contestants: Mapping[str, Contestant],
    texts: Sequence[str],
    rounds: int,
    on_turn: Callable[[], None] = lambda: None,
) -> dict[str, Speed]:
    """Measure all contestants on all texts: first each answers once to warm up, then they take turns.

    Args:
        contestants: The contestants by name.
        texts: The texts, the same for all; at least one.
        rounds: Number of rounds, at least one.
        on_turn: Called after each turn of a contestant, the warm-up included.

    Returns:
        The speeds by name.

    Raises:
        ModelError: A contestant gave other answers than in the warm-up, so its time means nothing.
        ValueError: There are no texts, or no rounds.
    """
    if not texts or rounds < 1:
        raise ValueError("at least one text and one round")
    expected = {}
    for name, answer in contestants.items():
        expected[name] = answer(texts)
        on_turn()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    names = list(contestants)
    for round_index in range(rounds):
        # The order rotates, because the first contestant of a round finds the processor's caches in another state.
        for name in names[round_index % len(names) :] + names[: round_index % len(names)]:
            wall, processor = time.perf_counter(), time.process_time()
            answers = contestants[name](texts)
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
            if not np.array_equal(answers, expected[name]):
                raise ModelError(
                    f"{name} gave other answers in round {round_index + 1} than before, so it cannot be timed"
                )
            on_turn()
    return {name: _speed(len(texts), rounds) for name, rounds in taken.items()}


def served(classifier: Classifier) -> Contestant:
    """Returns a contestant that calls a package as a worker does: `BATCH` texts at once, labels of the first head."""

    def answer(texts: Sequence[str]) -> NDArray[np.integer[Any]]:
        head = classifier.heads[0].name
        return np.concatenate([classifier.classify(part).probabilities[head].argmax(1) for part in batches(texts)])

    return answer


def batches(texts: Sequence[str], size: int = BATCH) -> Iterator[Sequence[str]]:
    """Yield the texts in order, `size` at a time."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def spread(texts: Sequence[str], limit: int) -> list[str]:
    """Returns at most `limit` of the texts, evenly spread over them and in their order."""
    if len(texts) <= limit:
        return list(texts)
    return [texts[i] for i in np.linspace(0, len(texts) - 1, limit).astype(int)]


def _speed(posts: int, taken: Sequence[tuple[float, float]]) -> Speed:
    walls = [wall for wall, _ in taken]
    return Speed(
        posts=posts,
        rounds=len(taken),
        per_second=posts / statistics.median(walls),
        slowest=posts / max(walls),
        fastest=posts / min(walls),
        cpu_us=statistics.median(processor for _, processor in taken) / posts * 1e6,
    )
