"""The requests that wait for a model, and how they are cut into runs. Pure.

A *request* is some texts of one caller. A *run* is one call of the classify function, with texts of several requests. A
run has at most `BatchLimits.run_texts` texts and `run_tokens` tokens. The requests take turns, in the order of their
arrival: in its turn a request gives at most `turn_texts` texts to the run, and goes to the end of the queue with the
others. So a request of one text waits for one turn of each request before it, however large they are.

If several threads have nothing to do, they divide what waits, because two runs on two cores end sooner than one.

The classifier sorts the texts of a run by length and pads almost none of them (`models.text.batching`), so the time of
a run follows from the sum of the tokens. Tokens are estimated before the texts are tokenised.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

BYTES_PER_TOKEN: Final = 4
"""Bytes of UTF-8 per token in the estimate. English has four to five characters per token; a character of Chinese
has three bytes and an emoji four, and each is about one token."""

SPECIAL_TOKENS: Final = 2
"""The tokens that mark the begin and the end of a text."""

LEAST_TEXTS: Final = 8
"""Texts that a thread takes although other threads have nothing to do. To begin a run takes as long as two or three
texts, so smaller runs would cost more than they save."""


@dataclass(frozen=True)
class BatchLimits:
    """The limits of runs, and of what waits for them.

    Attributes:
        run_texts: Greatest number of texts in a run.
        run_tokens: Greatest number of estimated tokens in a run. A single text may exceed it.
        turn_texts: Greatest number of texts that a request adds to a run in one turn.
        text_tokens: Greatest number of tokens of a text in the estimate. A model drops those beyond its `max_tokens`.
        waiting_texts: Greatest number of texts in all requests that have no answer yet.
        waiting_bytes: Greatest size of these texts as UTF-8, in bytes.
    """

    run_texts: int = 128
    run_tokens: int = 4_096
    turn_texts: int = 32
    text_tokens: int = 128
    waiting_texts: int = 4_096
    waiting_bytes: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            ValueError: A limit is less than 1.
        """
        if min(vars(self).values()) < 1:
            raise ValueError("the limits of batches are at least 1")


class Request(Generic[T]):
    """The texts of one caller, and the answers so far.

    Attributes:
        texts: The texts, at least one.
        stated: For each text the language tag that its source gives; None if there is none.
        tokens: For each text the estimated tokens.
        bytes: The size of all texts as UTF-8.
        arrived: When the request came, in seconds of a monotonic clock.
        taken: The number of texts that are in a run or have an answer. These are the first ones.
        answers: For each text its answer; None if it has none yet.
        unanswered: The number of texts without an answer.
    """

    __slots__ = ("answers", "arrived", "bytes", "stated", "taken", "texts", "tokens", "unanswered")

    def __init__(
        self, texts: Sequence[str], stated: Sequence[str | None], *, text_tokens: int, arrived: float = 0.0
    ) -> None:
        """Create a request; `text_tokens` is the limit of the estimate for one text."""
        sizes = [utf8_size(text) for text in texts]
        self.texts = texts
        self.stated = stated
        self.tokens = [min(text_tokens, SPECIAL_TOKENS + -(-size // BYTES_PER_TOKEN)) for size in sizes]
        self.bytes = sum(sizes)
        self.arrived = arrived
        self.taken = 0
        self.answers: list[T | None] = [None] * len(texts)
        self.unanswered = len(texts)

    def put(self, start: int, answers: Sequence[T]) -> bool:
        """Store the answers to the texts from `start` on, and return whether all texts have answers now."""
        self.answers[start : start + len(answers)] = answers
        self.unanswered -= len(answers)
        return not self.unanswered


class Part(NamedTuple, Generic[T]):
    """The texts `start` to `stop` - 1 of a request, in a run."""

    request: Request[T]
    start: int
    stop: int


class Run(NamedTuple, Generic[T]):
    """The texts of one call of the classify function. `tokens` is the estimate for all of them."""

    parts: list[Part[T]]
    texts: list[str]
    stated: list[str | None]
    tokens: int


class RequestQueue(Generic[T]):
    """The requests without a complete answer. Not thread-safe.

    Attributes:
        texts: The number of texts of all requests that were added and not removed.
        bytes: The size of these texts as UTF-8.
        waiting_texts: The number of those texts that are in no run yet.
        waiting_tokens: The estimated tokens of the texts that are in no run yet.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._waiting: OrderedDict[Request[T], None] = OrderedDict()
        """The requests with texts that are in no run yet, in the order of their turns."""
        self.texts = 0
        self.bytes = 0
        self.waiting_texts = 0
        self.waiting_tokens = 0

    def __bool__(self) -> bool:
        """Returns whether there are texts for another run."""
        return bool(self._waiting)

    def fits_alone(self, request: Request[T]) -> bool:
        """Returns whether a request would fit if no other one waited."""
        return len(request.texts) <= self._limits.waiting_texts and request.bytes <= self._limits.waiting_bytes

    def fits(self, request: Request[T]) -> bool:
        """Returns whether a request fits now."""
        texts, size = self.texts + len(request.texts), self.bytes + request.bytes
        return texts <= self._limits.waiting_texts and size <= self._limits.waiting_bytes

    def add(self, request: Request[T]) -> None:
        """Add a request, whose turn comes after all others."""
        self._waiting[request] = None
        self.texts += len(request.texts)
        self.bytes += request.bytes
        self.waiting_texts += len(request.texts)
        self.waiting_tokens += sum(request.tokens)

    def skip(self, request: Request[T]) -> None:
        """Take no more texts of a request into runs, because its caller has gone or has got an error."""
        if request in self._waiting:
            del self._waiting[request]
            self.waiting_texts -= len(request.texts) - request.taken
            self.waiting_tokens -= sum(request.tokens[request.taken :])

    def remove(self, request: Request[T]) -> None:
        """Remove a request that was added. Its texts no longer count, and no more of them get into runs."""
        self.skip(request)
        self.texts -= len(request.texts)
        self.bytes -= request.bytes

    def take(self, threads: int = 1) -> Run[T]:
        """Take the texts of the next run out of the queue. There must be one.

        Args:
            threads: Number of threads that have nothing to do, with the one that takes this run.
        """
        most = min(self._limits.run_texts, max(LEAST_TEXTS, -(-self.waiting_texts // threads)))
        parts: list[Part[T]] = []
        texts: list[str] = []
        stated: list[str | None] = []
        tokens = 0
        while self._waiting and len(texts) < most:
            request = next(iter(self._waiting))
            room = min(self._limits.turn_texts, most - len(texts))
            start = stop = request.taken
            for size in request.tokens[start : start + room]:
                if tokens and tokens + size > self._limits.run_tokens:
                    break
                stop += 1
                tokens += size
            if stop == start:
                break
            request.taken = stop
            parts.append(Part(request, start, stop))
            texts += request.texts[start:stop]
            stated += request.stated[start:stop]
            if stop == len(request.texts):
                del self._waiting[request]
            else:
                self._waiting.move_to_end(request)
        self.waiting_texts -= len(texts)
        self.waiting_tokens -= tokens
        return Run(parts, texts, stated, tokens)


def utf8_size(text: str) -> int:
    """Returns the size of a text as UTF-8 in bytes. A lone surrogate has 3."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
