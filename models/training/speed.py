"""How fast texts are answered, on a machine that also does other things.

Contestants take turns, round by round, so that whatever else the machine does falls on all of them; the median round
counts. Wall time says what a reader will see; processor time (user and system, of all threads) hardly depends on what
else is running.
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
"""Posts in a call: as many as a worker takes at once by default."""

Contestant = Callable[[Sequence[str]], NDArray[np.integer[Any]]]
"""Answers texts, tokenisation included, with the index of a label for each."""


@dataclass(frozen=True)
class Speed:
    """What one contestant took.

    Attributes:
        posts: texts in a round.
        rounds: how many there were.
        per_second: texts a second of wall time, in the median round.
        slowest: texts a second in the slowest round.
        fastest: texts a second in the fastest.
        cpu_us: microseconds of processor time a text, in the median round.
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
    """Let all contestants answer all texts, once to warm up and then in turns.

    Args:
        contestants: By name.
        texts: The same for all; at least one.
        rounds: At least one.
        on_turn: Called after each turn of a contestant, the warm-up included.

    Returns:
        By name.

    Raises:
        ModelError: A contestant answered otherwise than the first time, so that its time is worth nothing.
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
    for turn in range(rounds):
        # Whoever begins finds the caches as the last one left them: everyone begins some time.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall, processor = time.perf_counter(), time.process_time()
            answers = contestants[name](texts)
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
            if not np.array_equal(answers, expected[name]):
                raise ModelError(f"{name} answered otherwise in round {turn + 1} than before; it cannot be timed")
            on_turn()
    return {name: _speed(len(texts), rounds) for name, rounds in taken.items()}


def served(classifier: Classifier) -> Contestant:
    """A package as a worker calls it: `BATCH` texts at once; answers with the first head's labels."""

    def answer(texts: Sequence[str]) -> NDArray[np.integer[Any]]:
        head = classifier.heads[0].name
        return np.concatenate([classifier.classify(part).probabilities[head].argmax(1) for part in batches(texts)])

    return answer


def batches(texts: Sequence[str], size: int = BATCH) -> Iterator[Sequence[str]]:
    """The texts in order, `size` at once."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def spread(texts: Sequence[str], most: int) -> list[str]:
    """At most so many of the texts, evenly spread over them and in their order."""
    if len(texts) <= most:
        return list(texts)
    return [texts[i] for i in np.linspace(0, len(texts) - 1, most).astype(int)]


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
