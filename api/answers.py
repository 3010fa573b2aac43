r"""Answers questions: from the cache, or from the engine, and with a picture if one is asked for.

The cache holds an answer in two parts, because one of its members changes when it comes from the cache:

    windows\n{"keyword":"coffee", …, "notes":[]

The first line is the source. What follows is the JSON of the answer without its source and without the last brace. So
an answer from the cache is put together from bytes, and never decoded.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable

from connectors.deadline import Deadline
from models.errors import OverloadedError
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.query.answer import Answer
from streams.query.cache_key import answer_key
from streams.query.cached import Brief, CachedAnswers
from streams.query.engine import Engine
from streams.query.question import Question
from streams.windows.tumbling import window_start

Draw = Callable[[Answer], bytes]

INCOMPLETE_S = 5.0
"""Seconds that an answer stays in the cache for which a server did not answer, which may be back soon."""

UNKNOWN_S = 60.0
"""Seconds that the answer about a keyword without posts stays. Anybody can make up such keywords, and would otherwise
fill Redis with them."""

PICTURE_S = 120.0
"""Seconds that a picture stays in the cache. It is far larger than its answer, and a new answer has a new picture."""

MOST_DRAWINGS = 32
"""The most pictures of a process that are drawn or wait for it. One is drawn at a time, in some 0.1 seconds."""


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
        shortest_s: int,
    ) -> None:
        """Prepare the answers.

        Args:
            cached: the cache.
            engine: answers what the cache lacks.
            current_models: returns the models that serve. A model with another version has answers of its own.
            draw: returns the picture of an answer, as PNG. It is called in a thread.
            prefix: the prefix of the keys in Redis.
            deadline_s: seconds after which an answer is sent with what was found until then.
            shortest_s: size of the shortest windows in seconds.
        """
        self._cached = cached
        self._engine = engine
        self._current_models = current_models
        self._draw = draw
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._shortest_s = shortest_s
        self._drawing = asyncio.Semaphore(1)
        self._drawings = 0

    async def ask(self, question: Question, *, picture: bool) -> bytes:
        """Returns the answer as JSON.

        Raises:
            QuestionError: The start of the question lies in the future.
            UnavailableError: Neither Redis nor Postgres can be read.
            DeadlineExceededError: There was no answer when the deadline was over.
            OverloadedError: Too many pictures are being drawn.
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
            # The picture has the numbers of this answer, and not those of an older one.
            name = f"{key}:png:{hashlib.blake2b(body, digest_size=12).hexdigest()}"
            drawn = await self._cached.get(name, lambda: self._picture(body), deadline=deadline)
            plot = b'"%b"' % base64.b64encode(drawn.value)
        seconds = time.perf_counter() - begin
        return b'%b,"source":"%b","plot_base64":%b,"time":%.6f}' % (body, source, plot, seconds)

    def key_of(self, question: Question) -> str:
        """Returns the key of a question's answer. Starts within one window of the shortest size share it."""
        return answer_key(
            self._prefix,
            keyword=question.keyword,
            limit=question.limit,
            since_ms=None if question.since is None else window_start(question.since.ms, self._shortest_s),
            models=[f"{model.name} {model.version}" for model in self._current_models().all],
        )

    async def _compute(self, question: Question, deadline: Deadline) -> bytes | Brief:
        answer = await self._engine.answer(question, deadline)
        source = answer.source.encode()
        # Quotation marks in strings are escaped, so these bytes are the member and nothing else.
        before, _, after = answer.to_json().partition(b'"source":"%b",' % source)
        value = source + b"\n" + before + after.removesuffix(b"}")
        if not answer.complete and answer.source != "inference":  # a search that was cut short costs as much again
            return Brief(value, INCOMPLETE_S)
        return value if answer.count else Brief(value, UNKNOWN_S)

    async def _picture(self, body: bytes) -> Brief:
        if self._drawings >= MOST_DRAWINGS:
            raise OverloadedError(f"{self._drawings} pictures are drawn or wait for it", self._drawings * 0.1)
        answer = Answer.from_json(body + b',"source":"cache"}')
        self._drawings += 1
        try:
            async with self._drawing:
                return Brief(await asyncio.to_thread(self._draw, answer), PICTURE_S)
        finally:
            self._drawings -= 1
