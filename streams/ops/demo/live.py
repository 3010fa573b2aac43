"""The live source of the demo: a Jetstream server on this machine, and `emostream ingest`, which reads it.

The process is killed when half of the posts are out, and started again. So the demo shows that no post is lost or
counted twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from connectors.local.jetstream import Event, JetstreamServer, commit
from streams.errors import EmostreamError
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.store import add_keywords
from streams.ops.demo.processes import Role
from streams.records import Post
from streams.settings import Settings

ENVIRONMENT: Final[Mapping[str, str]] = {
    "EMOSTREAM_INGEST_WEB_PORT": "0",
    # The demo waits for every post, also for those without a keyword.
    "EMOSTREAM_UNMATCHED_POSTS": "keep",
}
"""Settings of a demo with a live source."""

_SESSION_TIMEOUT_MS = "3000"
"""After this time Kafka gives the source of a killed process to the next one. It is short, so that the demo is."""

_CONNECT_S = 60.0
"""Seconds in which the source must connect."""

_TICK_S = 0.1
"""Seconds between two groups of posts."""


class LiveSource:
    """A network that has the posts of the demo, and the process that reads it. A context manager.

    The keywords of the posts become their hashtags, and the live set of keywords.

    Attributes:
        role: the process.
    """

    role: Role

    def __init__(
        self,
        settings: Settings,
        posts: Sequence[Post],
        *,
        env: Mapping[str, str],
        logs: Path,
        on_line: Callable[[str], None],
    ) -> None:
        """Prepare the server.

        Args:
            settings: where Kafka is.
            posts: the posts.
            env: the environment of the process.
            logs: the folder of its log.
            on_line: called with a line for each step.
        """
        self._settings = settings
        self._posts = posts
        self._env = {**env, "EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": _SESSION_TIMEOUT_MS}
        self._log = logs / "ingest.log"
        self._on_line = on_line
        self._stack = ExitStack()
        self._server = JetstreamServer()
        # One thread restarts the process, another one checks it, or ends the demo.
        self._restart = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        with self._stack:
            if keywords := keywords_of(self._posts):
                add_keywords(self._settings, keywords)
            self._stack.enter_context(self._server)
            self._start()
            self._stack = self._stack.pop_all()
        self._on_line(f"`emostream ingest bluesky` (pid {self.role.pid}) reads a Jetstream server on this machine")
        return self

    def _start(self) -> None:
        arguments = ["ingest", "bluesky", "--endpoint", self._server.url, "--allow-private"]
        self.role = self._stack.enter_context(Role("source", arguments, env=self._env, log=self._log))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._restart:
            self._closed = True
        self._stack.close()

    def check(self) -> None:
        """Check that the process runs.

        Raises:
            EmostreamError: The process has ended.
        """
        with self._restart:
            self.role.check()

    def send(self, rate: float | None) -> None:
        """Let the network have the posts: `rate` a second, or all at once if it is None. Blocking.

        At a rate the process is killed after half of the posts.

        Raises:
            EmostreamError: The process does not connect to the network, or has ended.
        """
        deadline = time.monotonic() + _CONNECT_S
        while not self._server.open:
            self.check()
            if time.monotonic() > deadline:
                raise EmostreamError(f"the source has not connected after {_CONNECT_S:.0f} s (log: {self._log})")
            time.sleep(_TICK_S)
        if rate is None:
            self._publish(0, len(self._posts))
            return
        half = len(self._posts) // 2
        self._publish_paced(0, half, rate)
        self._kill_and_start(half)
        self._publish_paced(half, len(self._posts), rate)

    def _kill_and_start(self, sent: int) -> None:
        with self._restart:
            if self._closed:
                raise EmostreamError("the demo has ended")
            killed = self.role.pid
            self.role.kill()
            self._start()
        self._on_line(f"killed it after {sent} posts, and started it again (pid {killed}, then {self.role.pid})")

    def _publish_paced(self, first: int, end: int, rate: float) -> None:
        began, sent = time.monotonic(), first
        while sent < end:
            self.check()
            due = min(end, first + 1 + int((time.monotonic() - began) * rate))
            self._publish(sent, due)
            sent = due
            time.sleep(_TICK_S)

    def _publish(self, first: int, end: int) -> None:
        now_us = int(time.time() * 1_000_000)
        self._server.add(event_of(self._posts[number], number, now_us) for number in range(first, end))


def keywords_of(posts: Sequence[Post]) -> list[str]:
    """Returns the keywords of the posts that can be keywords of the live set, each once."""
    found: dict[str, None] = {}
    for word in dict.fromkeys(word for post in posts for word in post.keywords):
        try:
            found[parse_keyword(word)] = None
        except ValueError:
            continue
    return list(found)


def event_of(post: Post, number: int, time_us: int) -> Event:
    """Returns the event of Jetstream for a post, which the network received at `time_us`."""
    return commit(
        time_us,
        number,
        post.text,
        createdAt=post.created_at.rfc3339(),
        langs=[post.lang] if post.lang else [],
        tags=list(post.keywords),
    )
