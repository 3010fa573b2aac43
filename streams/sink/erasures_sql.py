"""Erases posts: statements on `erased_posts` and `erased_authors`, and on the rows of the posts that they name.

An erased post is a row of `posts` without text, author and URL. All else stays, so that every count stays.

The transaction of some deletions

a. stores them in `erased_posts` and `erased_authors`, so that a post that comes later is erased before it is inserted;
b. finds the rows that are there, by the indexes on ids and authors;
c. erases them;
d. replaces their hashes in the checksums of the ledger, which a backfill compares with the rows.

While it runs, no row of a post is written (`lock_out_posts`). Otherwise a row might be inserted that neither the
deletion nor the insertion knows to erase.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from connectors.postgres import Connection
from streams.records import DeletionRecord
from streams.sink.posts_sql import CHECKSUM
from streams.sink.sql import execute_each, fetch_all

PAGE = 5_000
"""Most rows that are found, and then erased, at a time."""

DAYS = 100
"""Most partitions of `posts` that are searched in one query. A query locks each table that it searches and each of its
indexes, and the server has room for some thousand locks."""

_LOCK_NAME = "hashtextextended('emostream erasures', 0)"

_IS_ERASED = """(
    EXISTS (SELECT FROM erased_posts AS erased WHERE erased.id = post.id)
    OR EXISTS (
        SELECT FROM erased_authors AS erased
        WHERE (erased.source, erased.author) = (post.source, post.author) AND erased.at >= post.created_at
    )
)"""

_ERASE = "text = NULL, author = NULL, url = NULL, erased_at = now()"

_ERASE_STAGED = f"UPDATE stage_posts AS post SET {_ERASE} WHERE {_IS_ERASED}"

_STORE_POST = "INSERT INTO erased_posts (id, at, reason) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

_STORE_AUTHOR = """
    INSERT INTO erased_authors (source, author, at, reason) VALUES (%s, %s, %s, %s)
    ON CONFLICT (source, author) DO UPDATE SET at = excluded.at, reason = excluded.reason
    WHERE excluded.at > erased_authors.at
"""

_FOUND = f"SELECT origin_topic, origin_partition, origin_offset, created_at, {CHECKSUM}, nr"
_WHERE = f"WHERE created_at >= %s AND created_at < %s AND erased_at IS NULL LIMIT {PAGE}"

_FIND_BY_ID = f"""
    {_FOUND} FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (wanted_id, nr)
    JOIN posts ON posts.id = wanted_id
    {_WHERE}
"""

_FIND_BY_AUTHOR = f"""
    {_FOUND} FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) WITH ORDINALITY
        AS wanted (wanted_source, wanted_author, deleted_at, nr)
    JOIN posts ON posts.author = wanted_author AND posts.source = wanted_source AND posts.created_at <= deleted_at
    {_WHERE}
"""

# A query by an index for each wanted value: no other plan is fast when there are many partitions.
_BY_INDEX = """
    SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan'])
        AS setting (name)
"""

# The hash of a row before and after, combined by exclusive or, replaces one by the other in a checksum.
_ERASE_ROWS = f"""
    UPDATE posts SET {_ERASE}
    FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::timestamptz[], %s::bigint[])
        AS wanted (of_topic, of_partition, place, moment, hash_before)
    WHERE created_at BETWEEN %s AND %s
        AND (origin_topic, origin_partition, origin_offset, created_at) = (of_topic, of_partition, place, moment)
    RETURNING origin_topic, origin_partition, origin_offset, created_at, hash_before # {CHECKSUM}
"""

# The ranges of a partition do not overlap, so a row is in the last one that begins before it, or in none.
_UPDATE_LEDGER = """
    UPDATE sink_ledger AS ledger SET checksum = ledger.checksum # change.hashes
    FROM (
        SELECT found.topic, found.partition, found.first_offset, bit_xor(erased.hashes) AS hashes
        FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::timestamptz[], %s::bigint[])
            AS erased (of_topic, of_partition, place, moment, hashes)
        CROSS JOIN LATERAL (
            SELECT * FROM sink_ledger
            WHERE origin_topic = erased.of_topic AND partition = erased.of_partition AND first_origin <= erased.place
            ORDER BY first_origin DESC LIMIT 1
        ) AS found
        WHERE found.last_origin >= erased.place AND erased.moment BETWEEN found.first_event AND found.last_event
        GROUP BY 1, 2, 3
    ) AS change
    WHERE (ledger.topic, ledger.partition, ledger.first_offset) = (change.topic, change.partition, change.first_offset)
"""


class _Found(NamedTuple):
    """A row to erase: its key, its hash, and which of the wanted values it was found by, from 1 on."""

    topic: str
    partition: int
    offset: int
    created_at: datetime
    checksum: int
    number: int


class PostKey(NamedTuple):
    """What tells whether a post is erased. `author` is as posts have it, which may be a hash."""

    id: str
    source: str
    author: str | None
    created_at: datetime


def lock_out_erasures(connection: Connection) -> None:
    """Wait until no post is being erased; until the transaction ends, none will be."""
    connection.execute(f"SELECT pg_advisory_xact_lock_shared({_LOCK_NAME})")


def lock_out_posts(connection: Connection) -> None:
    """Wait until no rows of posts are being written; until the transaction ends, none will be."""
    connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK_NAME})")


def are_erased(connection: Connection, posts: Sequence[PostKey]) -> list[bool]:
    """Returns for each post whether it is erased: by its id, or because its author's account was deleted later.

    This holds from the sink's transaction on. What was announced since is in the deletions topic.
    """
    found = fetch_all(
        connection,
        f"SELECT {_IS_ERASED} FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) WITH ORDINALITY "
        "AS post (id, source, author, created_at, nr) ORDER BY nr",
        *([list(column) for column in zip(*posts, strict=True)] or [[]] * 4),
    )
    return [erased for (erased,) in found]


def rows_of(connection: Connection, deletions: Sequence[DeletionRecord]) -> int:
    """Returns how many rows were erased when deletions of these posts and accounts were applied, now and before."""
    accounts = [(one.source, one.author) for one in deletions if one.author is not None]
    [[rows]] = fetch_all(
        connection,
        "SELECT (SELECT coalesce(sum(rows), 0) FROM erased_posts WHERE id = ANY(%s))::bigint + "
        "(SELECT coalesce(sum(rows), 0) FROM erased_authors JOIN unnest(%s::text[], %s::text[]) AS account (s, a) "
        "ON (source, author) = (s, a))::bigint",
        [one.id for one in deletions if one.id is not None],
        [source for source, _ in accounts],
        [author for _, author in accounts],
    )
    return int(rows)


def erase_staged(connection: Connection) -> None:
    """Erase those of the staged posts that were deleted before they came."""
    connection.execute(_ERASE_STAGED)


def apply(connection: Connection, deletions: Sequence[DeletionRecord]) -> None:
    """Erase deleted posts, and those of deleted accounts. A deletion that was applied before changes nothing.

    Posts that an account created after its deletion stay: the name may be another person's by then.
    """
    ids = {deletion.id: deletion for deletion in deletions if deletion.id is not None}
    # Step a: store the deletions.
    execute_each(connection, _STORE_POST, ((id_, one.at, one.reason.value) for id_, one in ids.items()))
    execute_each(
        connection,
        _STORE_AUTHOR,
        ((one.source, one.author, one.at, one.reason.value) for one in deletions if one.author is not None),
    )
    latest: dict[tuple[str, str], datetime] = {}
    for one in deletions:
        if one.author is not None and one.source is not None:
            account = one.source, one.author
            latest[account] = max(one.at, latest.get(account, one.at))
    periods = list(_periods(connection)) if ids or latest else []
    if ids:
        rows = _erase_found(connection, _FIND_BY_ID, [list(ids)], periods)
        execute_each(
            connection,
            "UPDATE erased_posts SET rows = rows + %s WHERE id = %s",
            ((rows[number], id_) for number, id_ in enumerate(ids, start=1) if rows[number]),
        )
    if latest:
        sources, authors = ([account[place] for account in latest] for place in (0, 1))
        rows = _erase_found(connection, _FIND_BY_AUTHOR, [sources, authors, list(latest.values())], periods)
        execute_each(
            connection,
            "UPDATE erased_authors SET rows = rows + %s WHERE (source, author) = (%s, %s)",
            ((rows[number], *account) for number, account in enumerate(latest, start=1) if rows[number]),
        )


def _periods(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield times that begin and end spans of at most `DAYS` partitions of `posts`, and together cover all."""
    found = fetch_all(
        connection,
        "SELECT to_date(right(relname, 8), 'YYYYMMDD') FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        r"WHERE inhparent = to_regclass('posts') AND relname ~ '^posts_\d{8}$' ORDER BY 1",
    )
    days: list[date] = [day for (day,) in found]
    bounds = [datetime.combine(day, time(), UTC).isoformat() for day in days[DAYS::DAYS]]
    return zip(["-infinity", *bounds], [*bounds, "infinity"], strict=True)


def _erase_found(
    connection: Connection, find: str, wanted: Sequence[Sequence[object]], periods: Sequence[tuple[str, str]]
) -> Counter[int]:
    """Erase the rows that a query finds. Returns how many it found by each of the wanted values."""
    found_by: Counter[int] = Counter()
    for period in periods:
        while True:
            # Step b: find rows. The rollback changes nothing but the plan's settings, and releases the locks.
            with connection.transaction(force_rollback=True):
                connection.execute(_BY_INDEX)
                # A plan that is prepared for all periods would lock the partitions of all.
                rows = connection.execute(find, (*wanted, *period), prepare=False).fetchall()
            page = [_Found(*row) for row in rows]  # type: ignore[arg-type]
            found_by.update(row.number for row in page)
            _erase_rows(connection, page)
            if len(page) < PAGE:
                break
    return found_by


def _erase_rows(connection: Connection, rows: Sequence[_Found]) -> None:
    by_day: defaultdict[date, list[_Found]] = defaultdict(list)
    for row in rows:
        by_day[row.created_at.astimezone(UTC).date()].append(row)
    for of_day in by_day.values():
        *keys, _ = (list(column) for column in zip(*of_day, strict=True))
        first, last = (choose(row.created_at for row in of_day) for choose in (min, max))
        # Step c: erase the rows of a day, and search its partition only.
        changes = connection.execute(_ERASE_ROWS, (*keys, first, last), prepare=False).fetchall()
        # Step d: replace their hashes in the ledger.
        if changes:
            connection.execute(_UPDATE_LEDGER, [list(column) for column in zip(*changes, strict=True)])
