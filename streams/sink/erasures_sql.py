"""Erases posts: statements on `erased_posts` and `erased_authors`, and on the rows of the posts that they name.

An erased post is a row of `posts` without text, author and URL. All else stays, so that every count stays.

The transaction of some deletions

a. stores them in `erased_posts` and `erased_authors`, so that a post that comes later is erased before it is inserted;
b. finds the rows that are there, by the indexes on ids and authors;
c. erases them;
d. replaces their hashes in the checksums of the ledger, which a backfill compares with the rows;
e. removes them from the examples of alert incidents, which may have posts that the sink has not written yet.

While it runs, no row of a post and no example is written (`lock_out_posts`). Otherwise one might be inserted that
neither the deletion nor the insertion knows to erase.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from connectors.postgres import Connection
from streams.records import DeletionRecord
from streams.sink.posts_sql import CHECKSUM
from streams.sink.sql import execute_each, fetch_all

PAGE = 5_000
"""Most rows that are found, and then erased, at a time."""

FEW = 20
"""Most values that are looked up one by one in the index of each partition. For more, the planner may decide to read
small partitions in full."""

_LOCK_NAME = "hashtextextended('emostream erasures', 0)"

# Scalar subqueries, because the planner cannot make a hash table of a whole table of erasures for them.
_IS_ERASED = """(
    coalesce((SELECT true FROM erased_posts WHERE erased_posts.id = post.id), false)
    OR coalesce((
        SELECT at >= post.created_at FROM erased_authors
        WHERE (erased_authors.source, erased_authors.author) = (post.source, post.author)
    ), false)
)"""

_ERASE = "text = NULL, author = NULL, url = NULL, erased_at = now()"

_ERASE_STAGED = f"UPDATE stage_posts AS post SET {_ERASE} WHERE {_IS_ERASED}"

_STORE_POSTS = """
    INSERT INTO erased_posts (id, at, reason) SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[])
    ON CONFLICT DO NOTHING
"""

_STORE_AUTHORS = """
    INSERT INTO erased_authors (source, author, at, reason)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[])
    ON CONFLICT (source, author) DO UPDATE SET at = excluded.at, reason = excluded.reason
    WHERE excluded.at > erased_authors.at
"""

_FIND_BY_ID = f"""
    SELECT found.*, nr FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (wanted_id, nr)
    CROSS JOIN LATERAL (
        SELECT origin_topic, origin_partition, origin_offset, created_at, {CHECKSUM} FROM posts
        WHERE hashtext(id) = hashtext(wanted_id) AND id = wanted_id AND erased_at IS NULL {{}}
    ) AS found
    LIMIT {{}}
"""

_FIND_BY_AUTHOR = f"""
    SELECT found.*, nr
    FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) WITH ORDINALITY
        AS wanted (wanted_source, wanted_author, deleted_at, nr)
    CROSS JOIN LATERAL (
        SELECT origin_topic, origin_partition, origin_offset, created_at, {CHECKSUM} FROM posts
        WHERE hashtext(author) = hashtext(wanted_author) AND author = wanted_author AND source = wanted_source
            AND created_at <= deleted_at AND erased_at IS NULL {{}}
    ) AS found
    LIMIT {{}}
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


_REMOVE_EXAMPLES = """
    WITH gone AS (DELETE FROM alert_examples AS example {} RETURNING incident, id)
    UPDATE alert_incidents AS told SET reason = jsonb_set(reason, '{{examples}}', (
        SELECT coalesce(jsonb_agg(shown ORDER BY nr), '[]')
        FROM jsonb_array_elements(reason -> 'examples') WITH ORDINALITY AS one (shown, nr)
        WHERE shown ->> 'id' <> ALL (of_incident.ids)
    ))
    FROM (SELECT incident, array_agg(id) AS ids FROM gone GROUP BY incident) AS of_incident
    WHERE told.incident = of_incident.incident
"""

_REMOVE_EXAMPLES_BY_ID = _REMOVE_EXAMPLES.format("""
    USING unnest(%s::text[]) AS wanted (wanted_id) WHERE hashtext(id) = hashtext(wanted_id) AND id = wanted_id
""")

_REMOVE_EXAMPLES_BY_AUTHOR = _REMOVE_EXAMPLES.format("""
    USING unnest(%s::text[], %s::text[], %s::timestamptz[]) AS wanted (wanted_source, wanted_author, deleted_at)
    WHERE hashtext(author) = hashtext(wanted_author) AND author = wanted_author AND source = wanted_source
        AND created_at <= deleted_at
""")

LOCK_OUT_ERASURES = f"SELECT pg_advisory_xact_lock_shared({_LOCK_NAME})"
"""See `lock_out_erasures`."""

ARE_ERASED = f"""
    SELECT {_IS_ERASED} FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) WITH ORDINALITY
        AS post (id, source, author, created_at, nr) ORDER BY nr
"""
"""Whether each of some posts is erased: ids, sources, authors and times of creation; see `are_erased`."""


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
    connection.execute(LOCK_OUT_ERASURES)


def lock_out_posts(connection: Connection) -> None:
    """Wait until no rows of posts are being written; until the transaction ends, none will be."""
    connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK_NAME})")


def are_erased(connection: Connection, posts: Sequence[PostKey]) -> list[bool]:
    """Returns for each post whether it is erased: by its id, or because its author's account was deleted later.

    This holds from the sink's transaction on. What was announced since is in the deletions topic.
    """
    found = fetch_all(
        connection,
        ARE_ERASED,
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
    accounts: dict[tuple[str | None, str], DeletionRecord] = {}
    for one in deletions:
        if one.author is not None and one.at >= accounts.get((one.source, one.author), one).at:
            accounts[one.source, one.author] = one
    if ids:
        _store(connection, _STORE_POSTS, [list(ids)], ids.values())
        rows = _erase_found(connection, _FIND_BY_ID, [list(ids)])
        execute_each(
            connection,
            "UPDATE erased_posts SET rows = rows + %s WHERE id = %s",
            ((rows[number], id_) for number, id_ in enumerate(ids, start=1) if rows[number]),
        )
        connection.execute(_REMOVE_EXAMPLES_BY_ID, (list(ids),))
    if accounts:
        names = [[account[place] for account in accounts] for place in (0, 1)]
        _store(connection, _STORE_AUTHORS, names, accounts.values())
        wanted: list[Sequence[object]] = [*names, [one.at for one in accounts.values()]]
        rows = _erase_found(connection, _FIND_BY_AUTHOR, wanted)
        execute_each(
            connection,
            "UPDATE erased_authors SET rows = rows + %s WHERE (source, author) = (%s, %s)",
            ((rows[number], *account) for number, account in enumerate(accounts, start=1) if rows[number]),
        )
        connection.execute(_REMOVE_EXAMPLES_BY_AUTHOR, wanted)


def _store(
    connection: Connection, statement: str, names: Sequence[Sequence[object]], deletions: Iterable[DeletionRecord]
) -> None:
    """Do step a: store deletions."""
    times, reasons = zip(*((one.at, one.reason.value) for one in deletions), strict=True)
    connection.execute(statement, (*names, list(times), list(reasons)))


def _erase_found(connection: Connection, find: str, wanted: Sequence[Sequence[object]]) -> Counter[int]:
    """Erase the rows that a query finds. Returns how many it found by each of the wanted values."""
    found_by: Counter[int] = Counter()
    few = len(wanted[0]) <= FEW
    find = find.format("OFFSET 0" if few else "", PAGE)  # OFFSET 0 keeps the subquery as it is
    while True:
        # Step b: find rows. To plan hundreds of partitions takes longer than to search them for a few values, so the
        # plan of these is kept.
        connection.execute(f"SET LOCAL plan_cache_mode = {'force_generic_plan' if few else 'force_custom_plan'}")
        rows = connection.execute(find, wanted, prepare=few).fetchall()
        connection.execute("SET LOCAL plan_cache_mode TO DEFAULT")
        page = [_Found(*row) for row in rows]  # type: ignore[arg-type]
        found_by.update(row.number for row in page)
        _erase_rows(connection, page)
        if len(page) < PAGE:
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
