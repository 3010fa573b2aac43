"""Answers questions as JSON: from the cache, or from the engine, and with a picture if one is asked for."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable

from api.pictures import Drawings, PictureKind
from streams.query.answer import Answer
from streams.query.answer_codec import decode, split
from streams.query.cached_engine import CachedEngine
from streams.query.question import Question
from streams.query.read_through import ReadThroughCache, ShortLived

DrawPicture = Callable[[Answer, PictureKind], bytes]

PICTURE_S = 120.0
"""Seconds that a picture stays in the cache. It is far larger than its answer, and a new answer has a new picture."""


class JsonAnswers:
    """Answers questions as JSON. Tasks may share it."""

    def __init__(
        self,
        engine: CachedEngine,
        cache: ReadThroughCache,
        draw: DrawPicture,
        drawings: Drawings,
        on_asked: Callable[[Question], None],
    ) -> None:
        """Prepare the answers.

        Args:
            engine: answers questions from the cache, or computes the answers.
            cache: the cache, for the pictures.
            draw: returns a picture of an answer. It is called in a thread.
            drawings: limits how many pictures are drawn.
            on_asked: called with each question that has an answer.
        """
        self._engine = engine
        self._cache = cache
        self._draw = draw
        self._on_asked = on_asked
        self._drawings = drawings

    async def ask(self, question: Question, picture: PictureKind | None = None) -> bytes:
        """Returns the answer as JSON, with a picture unless that is None.

        Raises:
            QuestionError: The start of the question lies in the future.
            UnavailableError: Neither Redis nor Postgres can be read.
            DeadlineExceededError: There was no answer when the deadline was over.
            OverloadedError: Too many pictures are being drawn.
        """
        begin = time.perf_counter()
        deadline = self._engine.deadline()
        found = await self._engine.get(question, deadline)
        self._on_asked(question)
        source, body = split(found.value)
        if found.result != "computed":
            source = b"cache"
        plot = b"null"
        if picture is not None:
            # The picture has the numbers of this answer, and not those of an older one.
            digest = hashlib.blake2b(body, digest_size=12).hexdigest()
            key = f"{self._engine.key_of(question)}:{picture.kind}-{picture.format}:{digest}"
            drawn = await self._cache.get(key, lambda: self._picture(found.value, picture), deadline=deadline)
            plot = b'"%b"' % base64.b64encode(drawn.value)
        seconds = time.perf_counter() - begin
        return b'%b,"source":"%b","plot_base64":%b,"time":%.6f}' % (body, source, plot, seconds)

    async def _picture(self, stored: bytes, wanted: PictureKind) -> ShortLived:
        return ShortLived(await self._drawings.draw(lambda: self._draw(decode(stored), wanted)), PICTURE_S)
