"""Micro-batches for the processor, not for the caller. Pure.

Texts are sorted by length and cut into batches with next to no padding, bounded by padded tokens (longest x count), so
that a long text never makes short ones pay for it, and the memory of a run is bounded whatever comes in. On a CPU that
is worth a factor of two over batches padded as they come; a larger batch gains nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# Padded tokens in one run of the network. On a CPU the cost is linear in tokens from a few dozen on; beyond a thousand
# the activations leave the caches and a token costs 10 to 20 % more.
TOKEN_BUDGET: Final = 1024
# Padding, in tokens, that is worth saving a run: what a run costs beyond its tokens (2 tokens' time with one thread,
# 18 with two).
PADDING: Final = 16
# Texts in one run, so that a thousand one-word posts do not become one wide batch of softmaxes.
MAX_BATCH: Final = 128
# A cheap tier holds and computes a fraction per token, and starting a run costs it as much as any: it takes this many
# times the tokens, texts and padding.
CHEAP_FACTOR: Final = 8


@dataclass(frozen=True)
class Limits:
    """What bounds one run of a network.

    Attributes:
        token_budget: at most this many padded tokens; a single text may exceed it.
        max_batch: at most this many texts.
        padding: at most this many tokens of padding.
    """

    token_budget: int = TOKEN_BUDGET
    max_batch: int = MAX_BATCH
    padding: int = PADDING

    def for_cheap_tier(self) -> "Limits":
        """The limits of the tiers before the last."""
        return Limits(self.token_budget * CHEAP_FACTOR, self.max_batch * CHEAP_FACTOR, self.padding * CHEAP_FACTOR)


def micro_batches(lengths: Sequence[int], limits: Limits) -> Iterator[list[int]]:
    """Cut texts into batches of similar length.

    A batch ends where the next text would take it over a limit.

    Args:
        lengths: Tokens of each text.
        limits: What bounds a batch.

    Yields:
        Positions in `lengths`; every position once, shortest texts first.
    """
    batch: list[int] = []
    tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted, so this text is the longest so far.
        padded = lengths[position] * (len(batch) + 1)
        tokens += lengths[position]
        over = len(batch) == limits.max_batch or padded > limits.token_budget or padded - tokens > limits.padding
        if batch and over:
            yield batch
            batch, tokens = [], lengths[position]
        batch.append(position)
    if batch:
        yield batch


def chunks(sizes: Sequence[int], most: int, most_size: int) -> Iterator[slice]:
    """Cut a sequence into runs in order, each of at most `most` items that add up to at most `most_size`.

    A single item may exceed `most_size`.
    """
    start = total = 0
    for position, size in enumerate(sizes):
        if position > start and (position - start == most or total + size > most_size):
            yield slice(start, position)
            start, total = position, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))
