"""Classifies the posts of a fetch while the search goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from models.errors import OverloadedError
from streams.classification.texts import TextResult
from streams.records import Post

Classify = Callable[[Sequence[str], Sequence[str | None]], Awaitable[Sequence[TextResult]]]
"""Classifies texts with the languages that their sources state; `Serving.classify` is one. It raises a `ModelError` if
it cannot."""

AT_ONCE = 32
"""Most posts of one call. What is being classified at the deadline is not in the answer, so it must not be many."""


class FetchClassifier:
    """Classifies posts in the order in which they are added. For one fetch.

    Attributes:
        posts: the posts that were classified.
        answers: their answers.
    """

    def __init__(self, classify: Classify) -> None:
        self.posts: list[Post] = []
        self.answers: list[TextResult] = []
        self._classify = classify
        self._waiting: list[Post] = []
        self._ended = False
        self._changed = asyncio.Event()

    def add(self, post: Post) -> None:
        """Add a post."""
        self._waiting.append(post)
        self._changed.set()

    def end(self) -> None:
        """Note that no more posts come."""
        self._ended = True
        self._changed.set()

    async def run(self) -> None:
        """Classify what is added, until the end. While too many texts of others wait for the model, it tries again.

        Raises:
            ModelError: Posts cannot be classified.
        """
        while self._waiting or not self._ended:
            if not self._waiting:
                await self._changed.wait()
                self._changed.clear()
                continue
            posts = self._waiting[:AT_ONCE]
            try:
                answers = await self._classify([post.text for post in posts], [post.lang for post in posts])
            except OverloadedError as exc:
                await asyncio.sleep(exc.retry_after_s)  # the deadline of the fetch ends it
                continue
            self._waiting = self._waiting[len(posts) :]
            self.answers += answers
            self.posts += posts
