"""Micro-batches: cuts the texts of a call into batches of a size that suits the processor. Pure.

Texts are sorted by length and cut into batches with almost no padding. The padded tokens of a batch (longest text x
number of texts) are limited, so a long text does not slow down short ones, and the memory of a run is limited. On a CPU
this is twice as fast as batches in the order of the texts. Larger batches are not faster.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

TOKEN_BUDGET: Final = 1024
"""Greatest number of padded tokens in one run of a network. On a CPU the time is linear in the tokens from a few dozen
on. Above a thousand the activations no longer fit into the caches, and a token takes 10 to 20 % more."""

PADDING: Final = 16
"""Greatest number of padding tokens in one run. Starting another run takes as long as 2 tokens with one thread and as
18 tokens with two threads, so more padding than this does not pay."""

MAX_BATCH: Final = 128
"""Greatest number of texts in one run. It limits batches of very short texts, whose softmaxes would dominate."""

CHEAP_FACTOR: Final = 8
"""Factor on these limits for the tiers before the last. They need a fraction of the memory and of the time per token,
but starting a run takes as long as for the last tier."""


@dataclass(frozen=True)
class Limits:
    """The limits of one run of a network.

    Attributes:
        token_budget: Greatest number of padded tokens. A single text may exceed it.
        max_batch: Greatest number of texts.
        padding: Greatest number of padding tokens.
    """

    token_budget: int = TOKEN_BUDGET
    max_batch: int = MAX_BATCH
    padding: int = PADDING

    def for_cheap_tier(self) -> "Limits":
        """Returns the limits of the tiers before the last."""
        return Limits(self.token_budget * CHEAP_FACTOR, self.max_batch * CHEAP_FACTOR, self.padding * CHEAP_FACTOR)


def micro_batches(lengths: Sequence[int], limits: Limits) -> Iterator[list[int]]:
    """Cut texts into batches of similar length.

    A batch ends where one more text would exceed a limit.

    Args:
        lengths: The number of tokens of each text.
        limits: The limits of a batch.

    Yields:
        Positions in `lengths`, every position once, shortest texts first.
    """
    batch: list[int] = []
    tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        # The texts are sorted, so this one is the longest so far.
        padded = lengths[position] * (len(batch) + 1)
        tokens += lengths[position]
        over = len(batch) == limits.max_batch or padded > limits.token_budget or padded - tokens > limits.padding
        if batch and over:
            yield batch
            batch, tokens = [], lengths[position]
        batch.append(position)
    if batch:
        yield batch


def chunks(sizes: Sequence[int], max_items: int, max_size: int) -> Iterator[slice]:
    """Cut a sequence into slices in order, each of at most `max_items` items with a total size of at most `max_size`.

    A single item may exceed `max_size`.
    """
    start = total = 0
    for position, size in enumerate(sizes):
        if position > start and (position - start == max_items or total + size > max_size):
            yield slice(start, position)
            start, total = position, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))
