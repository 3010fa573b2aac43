"""The networks that a fetch searches: those of sources.toml that have a search. A network may ask to be left alone."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from connectors.errors import ConnectorError, RejectedError
from connectors.sources.events import SourcePost
from connectors.sources.protocol import RateLimitError, SearchableSource
from connectors.sources.x.rules import terms_of
from streams.errors import InputError
from streams.ingest.keywords.given import given_keywords
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.shaped.kinds import ShapedKind
from streams.ingest.sources.backoff import Backoff
from streams.ingest.sources.config import SourceSpec, read_config
from streams.ingest.sources.kinds import KINDS, opener_of, option_names
from streams.query.fetch_posts import OtherKeywords

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 86_400.0
"""Seconds after which a network is asked again in any case, if it asked to wait for longer."""


class Network:
    """A network that can be searched.

    Attributes:
        name: the name of its table in sources.toml.
        kind: the kind of source, with which the ids of its posts begin.
        others: returns the matcher of the keywords that all its posts are searched for.
    """

    def __init__(
        self,
        spec: SourceSpec,
        source: SearchableSource,
        others: OtherKeywords,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a network; nothing is connected to.

        Args:
            spec: its table in sources.toml.
            source: searches it. `close` closes the source.
            others: see the attribute.
            clock: monotonic seconds.
        """
        self.name = spec.instance
        self.kind = spec.kind
        self.others = others
        self._source = source
        # Unlike a stream, a search has no position that gets old, so the network decides how long it waits.
        self._backoff = Backoff(replace(spec.backoff, named_most_s=LONGEST_WAIT_S))
        self._clock = clock
        self._asked_again_at = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds until the network may be asked again, because it has asked to wait; 0 if it may be asked now."""
        return max(0.0, self._asked_again_at - self._clock())

    def search(self, keyword: str, *, since: datetime | None, limit: int) -> AsyncIterator[SourcePost]:
        """Yield posts that the network finds for a keyword, the newest first, at most `limit`.

        Raises:
            ConnectorError: As for `SearchableSource.search`; or the keyword has nothing that can be searched for.
        """
        return self._source.search(query_of(self.kind, keyword), since=since, limit=limit)

    def answered(self) -> None:
        """Note that the network has answered."""
        self._backoff.reset()

    def failed(self, error: ConnectorError) -> None:
        """Note that a search has failed. If the network asked to wait, it is not asked again before that time."""
        if isinstance(error, RateLimitError):
            self._asked_again_at = self._clock() + self._backoff.wait_s(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._source.close()


def query_of(kind: str, keyword: str) -> str:
    """Returns what is searched for, in the language of the search of a kind of source.

    In these languages a keyword could be an operator, such as `OR`, `-rain` or `from:bob`. So it is a phrase, unless it
    is a plain word. The search of Hacker News has no operators.

    Raises:
        RejectedError: The keyword has nothing that can be searched for.
    """
    if kind == "x":
        return " OR ".join(terms_of([keyword]))
    if kind == "hackernews":
        return keyword
    bare = keyword.removeprefix("#")
    if bare.isalnum() and bare.upper() not in {"AND", "OR", "NOT"}:
        return keyword
    phrase = " ".join(keyword.replace("\\", " ").replace('"', " ").split())
    if not phrase:
        raise RejectedError("the keyword has nothing that can be searched for")
    return f'"{phrase}"'


def open_networks(path: Path, live: OtherKeywords) -> list[Network]:
    """Returns the networks of sources.toml that can be searched, in the order of the file.

    A source without a search is left out, and the log says so.

    Args:
        path: the file.
        live: returns the matcher of the live set of keywords, for sources without keywords of their own.

    Raises:
        InputError: The file cannot be read, an entry cannot be used, or credentials are missing.
    """
    found: list[Network] = []
    without: list[str] = []
    for spec in read_config(path, option_names()).values():
        # Sources of files, topics and webhooks have no search, and may need secrets that this process does not have.
        source = None if isinstance(KINDS[spec.kind], ShapedKind) else opener_of(spec)()
        if isinstance(source, SearchableSource):
            found.append(Network(spec, source, _others(spec.keywords, live)))
        else:
            without.append(spec.instance)
    if without:
        logger.info("%s: sources without a search are not searched for answers: %s", path, ", ".join(without))
    if not found:
        raise InputError(f"{path} has no source that can be searched; there are bluesky, hackernews, reddit and x")
    return found


def _others(keywords: Sequence[str], live: OtherKeywords) -> OtherKeywords:
    if not keywords:
        return live
    matcher = Matcher(given_keywords(keywords, None))
    return lambda: matcher
