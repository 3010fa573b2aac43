r"""Answers questions: from the cache, or from the engine, and with a picture if one is asked for.

The cache holds an answer in two parts, because one of its members changes when it comes from the cache:

    windows\n{"keyword":"coffee", …, "notes":[]

The first line is the source. What follows is the JSON of the answer without its source and without the last brace. So
an answer from the cache is put together from bytes, and never decoded.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable

from connectors.deadline import Deadline
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.query.answer import Answer
from streams.query.cache_key import answer_key
from streams.query.cached import CachedAnswers
from streams.query.engine import Engine
from streams.query.question import Question

Draw = Callable[[Answer], bytes]


class Answers:
    """Answers questions. Tasks may share it."""

    def __init__(
        self,
        cached: CachedAnswers,
        engine: Engine,
        current_models: Callable[[], ModelSet[OnnxClassifier]],
        draw: Draw,
        *,
        prefix: str,
        deadline_s: float,
    ) -> None:
        """Prepare the answers.

        Args:
            cached: the cache.
            engine: answers what the cache lacks.
            current_models: returns the models that serve. A model with another version has answers of its own.
            draw: returns the picture of an answer, as PNG. It is called in a thread.
            prefix: the prefix of the keys in Redis.
            deadline_s: seconds after which an answer is sent with what was found until then.
        """
        self._cached = cached
        self._engine = engine
        self._current_models = current_models
        self._draw = draw
        self._prefix = prefix
        self._deadline_s = deadline_s

    async def ask(self, question: Question, *, picture: bool) -> bytes:
        """Returns the answer as JSON.

        Raises:
            QuestionError: The start of the question lies in the future.
            UnavailableError: Neither Redis nor Postgres can be read.
            DeadlineExceededError: There was no answer when the deadline was over.
        """
        begin = time.perf_counter()
        deadline = Deadline(self._deadline_s)
        key = self.key_of(question)
        found = await self._cached.get(key, lambda: self._compute(question, deadline), deadline=deadline)
        source, _, body = found.value.partition(b"\n")
        if found.source != "computed":
            source = b"cache"
        plot = b"null"
        if picture:
            drawn = await self._cached.get(f"{key}:png", lambda: self._picture(body), deadline=deadline)
            plot = b'"%b"' % base64.b64encode(drawn.value)
        seconds = time.perf_counter() - begin
        return b'%b,"source":"%b","plot_base64":%b,"time":%.6f}' % (body, source, plot, seconds)

    def key_of(self, question: Question) -> str:
        """Returns the key of a question's answer."""
        return answer_key(
            self._prefix,
            keyword=question.keyword,
            limit=question.limit,
            since_ms=None if question.since is None else question.since.ms,
            models=[f"{model.name} {model.version}" for model in self._current_models().all],
        )

    async def _compute(self, question: Question, deadline: Deadline) -> bytes:
        answer = await self._engine.answer(question, deadline)
        source = answer.source.encode()
        # Quotation marks in strings are escaped, so these bytes are the member and nothing else.
        before, _, after = answer.to_json().partition(b'"source":"%b",' % source)
        return source + b"\n" + before + after.removesuffix(b"}")

    async def _picture(self, body: bytes) -> bytes:
        answer = Answer.from_json(body + b',"source":"cache"}')
        return await asyncio.to_thread(self._draw, answer)
