"""Answers questions as JSON: from the cache, or from the engine, and with a picture if one is asked for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable

from models.errors import OverloadedError
from streams.query.answer import Answer
from streams.query.answering import Answering
from streams.query.cached import Brief, CachedAnswers
from streams.query.question import Question
from streams.query.stored import decode, split

Draw = Callable[[Answer], bytes]

PICTURE_S = 120.0
"""Seconds that a picture stays in the cache. It is far larger than its answer, and a new answer has a new picture."""

MOST_DRAWINGS = 32
"""The most pictures of a process that are drawn or wait for it. One is drawn at a time, in some 0.1 seconds."""


class Answers:
    """Answers questions. Tasks may share it."""

    def __init__(
        self, answering: Answering, cached: CachedAnswers, draw: Draw, on_asked: Callable[[Question], None]
    ) -> None:
        """Prepare the answers.

        Args:
            answering: has the answers.
            cached: the cache, for the pictures.
            draw: returns the picture of an answer, as PNG. It is called in a thread.
            on_asked: called with each question that has an answer.
        """
        self._answering = answering
        self._cached = cached
        self._draw = draw
        self._on_asked = on_asked
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
        deadline = self._answering.deadline()
        found = await self._answering.get(question, deadline)
        self._on_asked(question)
        source, body = split(found.value)
        if found.source != "computed":
            source = b"cache"
        plot = b"null"
        if picture:
            # The picture has the numbers of this answer, and not those of an older one.
            digest = hashlib.blake2b(body, digest_size=12).hexdigest()
            key = f"{self._answering.key_of(question)}:png:{digest}"
            drawn = await self._cached.get(key, lambda: self._picture(found.value), deadline=deadline)
            plot = b'"%b"' % base64.b64encode(drawn.value)
        seconds = time.perf_counter() - begin
        return b'%b,"source":"%b","plot_base64":%b,"time":%.6f}' % (body, source, plot, seconds)

    async def _picture(self, stored: bytes) -> Brief:
        if self._drawings >= MOST_DRAWINGS:
            raise OverloadedError(f"{self._drawings} pictures are drawn or wait for it", self._drawings * 0.1)
        self._drawings += 1
        try:
            async with self._drawing:
                return Brief(await asyncio.to_thread(self._draw, decode(stored)), PICTURE_S)
        finally:
            self._drawings -= 1
