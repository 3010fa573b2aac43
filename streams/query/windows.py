"""Reads the windows of one keyword in a span from the window tables, in one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import RedisCluster

from connectors.errors import UnavailableError
from connectors.redis import redis_errors
from streams.query.span import Span
from streams.query.sums import LabelSum, Sums
from streams.windows.post import MICRO
from streams.windows.reader import Row, WindowReader, script
from streams.windows.tumbling import WindowKey, shard_of

_PAGE = 250
"""Windows that one script reads. It takes a few milliseconds, in which Redis serves no other client."""

_ATTEMPTS = 3
"""How often the tables are read if they are switched to rebuilt ones meanwhile, which is rare."""


class SpanRows(NamedTuple):
    """The windows of one keyword in a span, and the state of their shard just after they were read.

    Attributes:
        rows: the windows that exist, the earliest first.
        complete_from: windows that start before this time, in ms since 1970, may be missing; None if the shard is not
            initialised, so that it has no windows yet.
        expired_to: windows that end at or before this time, in ms since 1970, may have been removed; -1 if none was.
        watermark: the event time up to which the shard has counted posts, in ms since 1970; None if not known.
    """

    rows: list[Row]
    complete_from: int | None
    expired_to: int
    watermark: int | None


class KeywordWindows(WindowReader):
    """Reads the windows of one keyword in a span. Tasks may share it."""

    async def in_span(self, keyword: str, span: Span) -> SpanRows:
        """Returns the windows of a keyword in a span; see `at_starts`."""
        return await self.at_starts(keyword, span.size, span.starts)

    async def at_starts(self, keyword: str, size: int, starts: Sequence[int]) -> SpanRows:
        """Returns the windows of a keyword with given starts, from the current generation of the tables.

        The current generation is read after the windows. If it is the one that was read, then a rebuild had not begun
        to remove its tables, so that no window is missed. On one server all of it is one round trip.

        Raises:
            UnavailableError: Redis does not answer, or the tables are switched again and again.
            RejectedError: Redis refuses the call.
        """
        for _ in range(_ATTEMPTS):
            tables = self.at(self.generation)
            found, self.generation = await tables._read(keyword, size, starts)
            if self.generation == tables.generation:
                return found
        raise UnavailableError("the window tables in Redis are being switched to rebuilt ones; try again")

    async def _read(self, keyword: str, size: int, starts: Sequence[int]) -> tuple[SpanRows, int]:
        """Returns the windows of a keyword in this generation's tables, and the number of the current generation."""
        shard = shard_of(keyword, self.shards)
        members = [WindowKey(keyword, size, start).member() for start in starts]
        pages = [members[start : start + _PAGE] for start in range(0, len(members), _PAGE)]
        fields = ["complete_from", f"expired_to:{size}", "watermark"]
        with redis_errors("reading the windows of a keyword"):
            if isinstance(self._redis, RedisCluster):
                # The keys lie on several nodes, which answer a pipeline in no fixed order.
                found: list[Any] = [await self._page(self._redis, shard, page) for page in pages]
                found.append(await self._redis.hmget(self._key(shard, "state"), fields))
                found.append(await self._redis.hget(self._meta, "generation"))
            else:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for page in pages:
                        self._page(pipe, shard, page)
                    pipe.hmget(self._key(shard, "state"), fields)
                    pipe.hget(self._meta, "generation")
                    found = await pipe.execute()
        *by_page, state, generation = found
        hashes = [flat for of_page in by_page for flat in of_page]
        rows = [
            (WindowKey.parse(member), dict(zip(flat[::2], flat[1::2], strict=True)))
            for member, flat in zip(members, hashes, strict=True)
            if flat
        ]
        complete_from, expired_to, watermark = (None if value is None else int(value) for value in state)
        return SpanRows(rows, complete_from, -1 if expired_to is None else expired_to, watermark), int(generation or 0)

    def _page(self, client: Any, shard: int, members: Sequence[str]) -> Any:  # noqa: ANN401 - as redis-py has them
        """Read some windows: the answer of a client, or a command in a pipeline."""
        # Redis compiles the text once. To name it by its hash would take another round trip after a restart of Redis.
        return client.eval(_ROWS, len(members), *(self._window_key(shard, member) for member in members))


_ROWS = script("rows")


def sum_windows(rows: Iterable[Mapping[str, str]]) -> Sums:
    """Returns the sums of windows; each one is the fields of its hash, which `streams.windows.codec` lists."""
    totals: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            totals[name] = totals.get(name, 0) + int(value)
    return Sums(
        labels={
            name[2:]: LabelSum(posts, totals.get(f"c:{name[2:]}", 0) / MICRO)
            for name, posts in totals.items()
            if name.startswith("l:")
        },
        sentiments={name[2:]: posts for name, posts in totals.items() if name.startswith("t:")},
        sentiment_score=totals.get("ts", 0) / MICRO,
        unsupported=totals.get("u", 0),
    )
