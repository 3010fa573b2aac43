"""What a source is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from connectors.errors import UnavailableError
from connectors.sources.events import Positioned, SourcePost


class RateLimitError(UnavailableError):
    """The network asks the client to wait.

    Attributes:
        retry_after_s: the seconds that the network names; None if it names none.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Source(Protocol):
    """A network or feed that yields events.

    A source connects once. It does not reconnect, does not wait after errors and keeps no position: the caller does,
    in the same way for every source.

    Attributes:
        name: the kind of source, such as `bluesky`; it is the `source` of its posts.
        silence_s: if no event comes for this many seconds, the connection is dead and the caller makes a new one.
        stable_ids: whether a post has the same id whenever it is fetched.
    """

    name: str
    silence_s: float
    stable_ids: bool

    def stream(self, cursor: str | None) -> AsyncIterator[Positioned]:
        """Yield events as they come, starting after `cursor`; with None, starting now.

        Keep-alives are yielded as `SourceSkipped`, because they prove that the connection works. If the network can no
        longer replay what came after the cursor, the first event is a `SourceGap`. The iterator ends only if the source
        has an end, such as a file.

        Raises:
            RateLimitError: The network asks the client to wait.
            UnavailableError: The connection failed or ended.
            RejectedError: Credentials are wrong, or `cursor` is not a cursor of this source.
        """
        ...

    async def close(self) -> None:
        """Close the connections. The caller does this before it makes another source for the same account."""
        ...


@runtime_checkable
class AcknowledgingSource(Source, Protocol):
    """A source that answers its network when Kafka has confirmed the posts."""

    def confirmed(self, cursor: str) -> None:
        """Note that the posts of all events up to the one with this cursor are confirmed.

        It is called often, also with the same cursor. It is not called for posts that could not be stored.
        """
        ...


@runtime_checkable
class RetryingSource(Source, Protocol):
    """A source that repeats requests by itself, beside a stream that goes on."""

    def retries(self) -> int:
        """Returns how many requests have failed so far, and were or will be repeated. It is called often."""
        ...


@runtime_checkable
class SearchableSource(Source, Protocol):
    """A source whose network can be searched."""

    def search(self, query: str, *, since: datetime | None = None, limit: int = 1_000) -> AsyncIterator[SourcePost]:
        """Yield posts that match a query, the newest first, at most `limit`.

        Raises:
            RateLimitError: The network asks the client to wait.
            UnavailableError: The network did not answer.
            RejectedError: Credentials are wrong, or the network refuses the query.
        """
        ...


@runtime_checkable
class FilteredSource(Source, Protocol):
    """A source whose network sends only the posts that were asked for."""

    def follow(self, keywords: Callable[[], Sequence[str]]) -> None:
        """Ask for posts with keywords from now on, and follow their changes. Called before `stream`.

        The network may send posts that have none of them: the caller searches each post itself.

        Args:
            keywords: returns the present keywords; the same object as long as they are the same. It is called often, so
                it is cheap. It may raise a `ConnectorError`, which ends the stream.
        """
        ...
