"""Knows which posts were sent to the raw topic before, so that a fetch does not send them a second time.

The windows count a post of a source once if its copies come within `EMOSTREAM_SOURCE_DEDUPLICATION_S`, by default 15
minutes. A search finds the same posts for weeks. So each post is looked up in two places before it is sent:

- Redis has the ids of the posts that fetches have sent. They expire after the retention of the raw topic: by then the
  sink has written the post to Postgres, or Kafka no longer has it.
- Postgres has the posts that the sink has written, also those of `emostream ingest`.

A post that `emostream ingest` has sent longer than the 15 minutes ago, and that the sink has not written yet, is in
neither. Nor is one that `emostream ingest` sends after a fetch, when it catches up after a longer interruption. Windows
count such a post twice; docs/reference/failures.md says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from connectors.postgres_pool import PostgresPool
from connectors.redis import RedisClient, redis_errors
from streams.records import Post

_DAY = timedelta(days=1)

KnownBy = Literal["redis", "postgres"]

# A network tells the time of a post to the second or better, whoever asks. A day more on either side allows for posts
# whose time was in the future. The constant bounds spare the planner the partitions of all other days: with 400 of them
# it takes a second.
_FIND = """
    SELECT wanted_id FROM unnest(%s::text[], %s::timestamptz[]) AS wanted (wanted_id, moment)
    WHERE EXISTS (
        SELECT FROM posts
        WHERE hashtext(id) = hashtext(wanted_id) AND id = wanted_id
            AND created_at BETWEEN moment - interval '1 day' AND moment + interval '1 day'
            AND created_at BETWEEN %s AND %s
    )
"""


class SentPosts:
    """Looks posts up in Redis and in Postgres. For one task."""

    def __init__(self, redis: RedisClient, postgres: PostgresPool, *, prefix: str, keep_s: float) -> None:
        """Prepare; nothing is connected to.

        Args:
            redis: the client, which the caller closes.
            postgres: the connections, which the caller closes.
            prefix: the prefix of the keys.
            keep_s: seconds after which Redis forgets an id.
        """
        self._redis = redis
        self._postgres = postgres
        self._prefix = prefix
        self._keep_ms = max(1, int(keep_s * 1_000))

    async def known(self, posts: Sequence[Post]) -> dict[str, KnownBy]:
        """Returns the ids of the posts that were sent before, with what knows that.

        Raises:
            ConnectorError: Redis or Postgres did not answer, or rejected the call.
        """
        with redis_errors("reading which posts fetches have sent"):
            async with self._redis.pipeline(transaction=False) as pipe:
                for post in posts:
                    pipe.exists(self._key(post.id))
                answers = await pipe.execute()
        found: dict[str, KnownBy] = {
            post.id: "redis" for post, is_there in zip(posts, answers, strict=True) if is_there
        }
        if rest := [post for post in posts if post.id not in found]:
            found |= dict.fromkeys(await self._in_postgres(rest), "postgres")
        return found

    async def mark(self, ids: Sequence[str]) -> None:
        """Note that Kafka has confirmed posts.

        Raises:
            ConnectorError: Redis did not answer, or rejected the call. Some may be noted.
        """
        with redis_errors("noting which posts fetches have sent"):
            async with self._redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.set(self._key(id_), "1", px=self._keep_ms)
                await pipe.execute()

    def _key(self, id_: str) -> str:
        # Ids have up to a thousand characters. Two of a million have the same hash with a probability below 1e-7.
        digest = hashlib.blake2b(id_.encode(), digest_size=8).hexdigest()
        return f"{self._prefix}:fetched:{digest}"

    async def _in_postgres(self, posts: Sequence[Post]) -> list[str]:
        moments = [post.created_at for post in posts]
        wanted = ([post.id for post in posts], moments, min(moments) - _DAY, max(moments) + _DAY)
        async with self._postgres.connection("reading which posts are in the history") as connection:
            rows = await (await connection.execute(_FIND, wanted)).fetchall()
        return [str(id_) for (id_,) in rows]
