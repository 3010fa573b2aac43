"""Searches networks at the same time. The failure of one does not fail the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from connectors.errors import ConnectorError, RejectedError
from connectors.repeats import Repeats
from connectors.sources.events import SourcePost
from connectors.sources.protocol import RateLimitError
from streams.query.fetch_metrics import FetchMetrics
from streams.query.fetch_networks import Network
from streams.query.fetch_posts import FoundPost, PostMaker
from streams.query.fetch_quota import Quota
from streams.query.question import Question
from streams.redact import redact

logger = logging.getLogger(__name__)

PATIENCE_SHARE = 0.5
"""Share of the time after which the shares of slow networks go to the others."""

_repeats = Repeats()


class Search:
    """One search of several networks. Use it once.

    Attributes:
        problems: for each network that was not searched to its end, which one it is and why.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        question: Question,
        *,
        maker: PostMaker,
        take: Callable[[FoundPost], None],
        metrics: FetchMetrics,
    ) -> None:
        """Prepare a search.

        Args:
            networks: the networks, at least one.
            question: what is searched for.
            maker: makes posts of what is found.
            take: is given each post that has the keyword, each once, at most `question.limit`.
            metrics: counts what happens.
        """
        self.problems: list[str] = []
        self._networks = networks
        self._question = question
        self._maker = maker
        self._take = take
        self._metrics = metrics
        self._seen: set[str] = set()
        self._quota = Quota(question.limit, [network.name for network in networks])

    async def run(self, seconds: float) -> None:
        """Search until all networks have ended, there are enough posts, or the time is over.

        After `PATIENCE_SHARE` of the time, the shares of slow networks go to the others.
        """
        tasks = {asyncio.create_task(self._search(network)): network for network in self._networks}
        full = asyncio.create_task(self._quota.full.wait())
        patience = asyncio.get_running_loop().call_later(seconds * PATIENCE_SHARE, self._quota.release)
        try:
            async with asyncio.timeout(seconds):
                searching = set(tasks)
                while searching and not full.done():
                    done, _ = await asyncio.wait({*searching, full}, return_when=asyncio.FIRST_COMPLETED)
                    searching -= done
        except TimeoutError:
            pass
        finally:
            patience.cancel()
            for task in (*tasks, full):
                task.cancel()
            await asyncio.gather(*tasks, full, return_exceptions=True)
        for task, network in tasks.items():
            if not task.cancelled():
                task.result()  # an exception that is no error of a network is a defect
            elif self._quota.full.is_set():
                self._count(network, "enough")
            else:
                self._count(network, "deadline")
                self.problems.append(f"{network.name} did not answer in time")

    async def _search(self, network: Network) -> None:
        try:
            if network.wait_s:
                self._count(network, "waiting")
                self.problems.append(
                    f"{network.name} was not searched: it has asked to wait for {network.wait_s:.0f} s more"
                )
            else:
                await self._read(network)
        except ConnectorError as exc:
            network.failed(exc)
            self._count(network, _result(exc))
            self.problems.append(redact(f"{network.name} failed: {exc}"))
            if _repeats.due((network.name, type(exc))):
                logger.warning("%s: a search failed: %s", network.name, exc)
        finally:
            self._quota.end(network.name)

    async def _read(self, network: Network) -> None:
        question = self._question
        found = network.search(question.keyword, since=question.since, limit=question.limit)
        async with aclosing(cast("AsyncGenerator[SourcePost, None]", found)) as events:
            while await self._quota.room(network.name):
                event = await _next(events)
                if event is None:
                    network.answered()
                    self._count(network, "complete")
                    return
                self._add(network, event)
        network.answered()
        self._count(network, "enough")

    def _add(self, network: Network, event: SourcePost) -> None:
        made = self._maker.made(event, network.kind, network.others)
        if isinstance(made, str):
            self._metrics.refused.labels(network.name, made).inc()
        elif made.post.id in self._seen:
            self._metrics.refused.labels(network.name, "repeated").inc()
        elif self._quota.take(network.name):
            self._seen.add(made.post.id)
            self._metrics.found.labels(network.name).inc()
            self._take(made)

    def _count(self, network: Network, result: str) -> None:
        self._metrics.searches.labels(network.name, result).inc()


async def _next(events: AsyncIterator[SourcePost]) -> SourcePost | None:
    return await anext(events, None)


def _result(error: ConnectorError) -> str:
    if isinstance(error, RateLimitError):
        return "rate_limited"
    return "rejected" if isinstance(error, RejectedError) else "unavailable"
