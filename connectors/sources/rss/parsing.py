"""Parses feeds in a process of its own.

feedparser takes minutes for some broken or hostile documents of a few hundred kilobytes. A thread cannot be ended, and
would keep the source from stopping. The process ends by itself if a document takes too much processor time, and when
its standard input is closed, which is also when the source is killed.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress

from connectors.sources.rss.parse import Feed, NotAFeedError, parse_feed

LIMIT_S = 20.0
"""Seconds of processor time that a document may take. A feed of a megabyte takes about one."""

_LENGTH = struct.Struct(">I")


class FeedParser:
    """Parses one document after the other. The process is started with the first one, and again after it has ended."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        """Prepare to parse; `limit_s` is the processor time in seconds that a document may take."""
        self._limit_s = limit_s
        self._process: Process | None = None

    async def parse(self, body: bytes, headers: Mapping[str, str], url: str) -> Feed:
        """Parse a document; see `connectors.sources.rss.parse.parse_feed`.

        Raises:
            NotAFeedError: The document cannot be parsed, or takes too long.
        """
        if self._process is None:
            self._process = await _started(self._limit_s)
        process, answer = self._process, b""
        try:
            answer = await _asked(process, pickle.dumps((body, dict(headers), url)))
        except (OSError, asyncio.IncompleteReadError):
            code = await process.wait()
            if code == -signal.SIGPROF:
                raise NotAFeedError(f"takes more than {self._limit_s:g} s to be parsed") from None
            raise NotAFeedError(f"ended its parser (exit code {code})") from None
        finally:
            if not answer:  # a later answer would be taken for the one of the next document
                await self.close()
        found: Feed | NotAFeedError = pickle.loads(answer)  # noqa: S301 - of our own process
        if isinstance(found, NotAFeedError):
            raise found
        return found

    async def close(self) -> None:
        """End the process, also in the middle of a document."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _started(limit_s: float) -> Process:
    # A session of its own: Ctrl-C in a terminal is for the source only.
    command = [sys.executable, "-m", __name__, str(limit_s)]
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)


async def _asked(process: Process, question: bytes) -> bytes:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(_LENGTH.pack(len(question)) + question)
    await process.stdin.drain()
    (size,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    return await process.stdout.readexactly(size)


def _serve(limit_s: float) -> None:
    """Answer the questions on standard input, until it is closed."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(length := questions.read(_LENGTH.size)) == _LENGTH.size:
        (size,) = _LENGTH.unpack(length)
        body, headers, url = pickle.loads(questions.read(size))  # noqa: S301 - of our own process
        answer: Feed | NotAFeedError
        # SIGPROF ends the process: it is sent after so much of its processor time, and nothing handles it.
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        try:
            answer = parse_feed(body, headers, url)
        except NotAFeedError as exc:
            answer = exc
        signal.setitimer(signal.ITIMER_PROF, 0)
        packed = pickle.dumps(answer)
        answers.write(_LENGTH.pack(len(packed)) + packed)
        answers.flush()


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
