"""Answers questions from the cache, or from the engine. The HTTP service and the warmer share what they store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from connectors.deadline import Deadline
from streams.query.answer_codec import encode
from streams.query.answer_store import Entry
from streams.query.cache_key import answer_key
from streams.query.engine import Engine
from streams.query.question import Question
from streams.query.read_through import CachedAnswer, ReadThroughCache, Refreshed, ShortLived
from streams.windows.tumbling import window_start

KEYS = 4_096
"""The keys that are remembered. To make one costs a tenth of an answer from the cache."""

INCOMPLETE_S = 5.0
"""Seconds that an answer stays in the cache for which a server did not answer, which may be back soon."""

UNKNOWN_S = 60.0
"""Seconds that the answer about a keyword without posts stays. Anybody can make up such keywords, and would otherwise
fill Redis with them."""


class _Head(Protocol):
    @property
    def labels(self) -> Sequence[str]:
        """The labels of the head."""


class Model(Protocol):
    """What an answer needs to know of a model: a loaded model has it, and so has a manifest."""

    @property
    def name(self) -> str:
        """The name of the model."""

    @property
    def version(self) -> str:
        """The version of the model."""

    @property
    def heads(self) -> Sequence[_Head]:
        """The heads of the model; an answer is about the first one."""


def labels_of(models: Iterable[Model]) -> list[str]:
    """Returns the labels of models, of which each has a row in an answer."""
    return [label for model in models for label in model.heads[0].labels]


class CachedEngine:
    """Answers questions, and stores the answers. Tasks may share it."""

    def __init__(
        self,
        cache: ReadThroughCache,
        engine: Engine,
        models: Callable[[], Iterable[Model]],
        *,
        prefix: str,
        deadline_s: float,
        shortest_s: int,
    ) -> None:
        """Prepare the answers.

        Args:
            cache: the cache.
            engine: answers what the cache lacks.
            models: returns the models that serve. A model with another version has answers of its own.
            prefix: the prefix of the keys in Redis.
            deadline_s: seconds after which an answer is made of what was found until then.
            shortest_s: size of the shortest windows in seconds.
        """
        self._cache = cache
        self._engine = engine
        self._models = models
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._shortest_s = shortest_s
        self._key = lru_cache(KEYS)(self._make_key)

    def deadline(self) -> Deadline:
        """Returns the deadline of a question that is asked now."""
        return Deadline(self._deadline_s)

    def key_of(self, question: Question) -> str:
        """Returns the key of a question's answer. Starts within one window of the shortest size share it."""
        return self._key(question, tuple((model.name, model.version) for model in self._models()))

    def _make_key(self, question: Question, models: tuple[tuple[str, str], ...]) -> str:
        return answer_key(
            self._prefix,
            keyword=question.keyword,
            limit=question.limit,
            since_ms=None if question.since is None else window_start(question.since.ms, self._shortest_s),
            models=[f"{name} {version}" for name, version in models],
        )

    async def get(self, question: Question, deadline: Deadline) -> CachedAnswer:
        """Returns the stored form of the answer (`streams.query.answer_codec`).

        Raises:
            QuestionError: The start of the question lies in the future.
            UnavailableError: Neither Redis nor Postgres can be read.
            DeadlineExceededError: There was no answer when the deadline was over.
        """
        return await self._cache.get(
            self.key_of(question), lambda: self._compute(question, deadline), deadline=deadline
        )

    async def look(self, questions: Sequence[Question]) -> list[Entry | None]:
        """Returns the stored answers of questions, fresh or stale; see `ReadThroughCache.look`."""
        return await self._cache.look([self.key_of(question) for question in questions])

    async def refresh(
        self,
        question: Question,
        *,
        is_due: Callable[[Entry | None], bool],
        replaces: Callable[[Entry | None, bytes], bool],
    ) -> Refreshed:
        """Compute an answer and replace the stored one; see `ReadThroughCache.refresh`."""
        deadline = self.deadline()
        return await self._cache.refresh(
            self.key_of(question),
            lambda: self._compute(question, deadline),
            deadline=deadline,
            is_due=is_due,
            replaces=replaces,
        )

    async def _compute(self, question: Question, deadline: Deadline) -> bytes | ShortLived:
        key = self.key_of(question)
        answer = await self._engine.answer(question, deadline)
        value = encode(answer)
        if self.key_of(question) != key:  # another model serves now, and the answer may have its labels
            return ShortLived(value, INCOMPLETE_S)
        if not answer.complete and answer.source != "inference":  # a search that was cut short costs as much again
            return ShortLived(value, INCOMPLETE_S)
        return value if answer.count else ShortLived(value, UNKNOWN_S)
