"""Statements on the table `posts`, on the staged posts, and on `model_versions`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from connectors.postgres import Connection
from streams.sink.ledger import Figures, LedgerRange
from streams.sink.rows import POST_COLUMNS
from streams.sink.sql import column_list, fetch_all

_ADDED = frozenset({"lang_confidence"})
"""Columns that are younger than the ledger."""

CHECKSUM = f"hash_record_extended(ROW({column_list(name for name in POST_COLUMNS if name not in _ADDED)}), 0)"
"""SQL expression: the hash of a post's row. The ledger stores these hashes, so it must never cover columns that a later
version adds: the stored checksums would no longer match."""

_FIGURES = f"""
    count(*)::integer, bit_xor({CHECKSUM}), min(origin_offset), max(origin_offset), min(created_at), max(created_at)
"""

_INSERT_STAGED = f"""
    INSERT INTO posts ({column_list(POST_COLUMNS)}, erased_at)
    SELECT {column_list(POST_COLUMNS)}, erased_at FROM stage_posts
    ON CONFLICT (origin_topic, origin_partition, origin_offset, created_at) DO NOTHING
"""


def insert_staged(connection: Connection) -> None:
    """Insert the staged posts into `posts`; a post that is there already stays as it is."""
    connection.execute(_INSERT_STAGED)


def record_models(connection: Connection, first_uses: Mapping[tuple[str, str], datetime]) -> None:
    """Insert the models that `model_versions` does not have, by name and version, with the time of their first use."""
    for (name, version), at in sorted(first_uses.items()):
        connection.execute(
            "INSERT INTO model_versions (name, version, first_classified_at) VALUES (%s, %s, %s) "
            "ON CONFLICT (name, version) DO NOTHING",
            (name, version, at),
        )


def create_days(connection: Connection, days: Iterable[date]) -> None:
    """Create the partitions of `posts` for these days, where they are missing."""
    connection.execute("SELECT make_post_days(%s)", (list(days),))


def delete_range(
    connection: Connection, partition: int, raw_topic: str, first: int, last: int, *, only: Sequence[int] | None
) -> None:
    """Delete the rows with raw offsets from `first` to `last`, both included.

    If `only` is not None, only rows whose raw offset is in it are deleted.
    """
    connection.execute(
        "DELETE FROM posts WHERE origin_topic = %s AND origin_partition = %s AND origin_offset BETWEEN %s AND %s "
        "AND (%s::bigint[] IS NULL OR origin_offset = ANY(%s::bigint[]))",
        (raw_topic, partition, first, last, only, only),
    )


def staged_figures(
    connection: Connection, raw_topic: str, last: Mapping[int, LedgerRange | None]
) -> dict[int, Figures]:
    """Returns, by partition, the figures of the staged posts of a raw topic that lie above the partition's fence."""
    fences = [(partition, found.fence) for partition, found in last.items() if found is not None and found.fence]
    found = fetch_all(
        connection,
        f"SELECT origin_partition, {_FIGURES} FROM stage_posts "
        "LEFT JOIN unnest(%s::integer[], %s::text[], %s::bigint[]) AS fence (partition, topic, origin) "
        "ON (fence.partition, fence.topic) = (origin_partition, origin_topic) "
        "WHERE origin_topic = %s AND (fence.origin IS NULL OR origin_offset > fence.origin) GROUP BY origin_partition",
        [partition for partition, _ in fences],
        [fence.topic for _, fence in fences],
        [fence.offset for _, fence in fences],
        raw_topic,
    )
    return {partition: Figures(*figures) for partition, *figures in found}


def stored_figures(connection: Connection, partition: int, raw_topic: str, wanted: Figures) -> Figures | None:
    """Returns the figures of the rows between the bounds of `wanted`; None if there are no rows."""
    [found] = fetch_all(
        connection,
        f"SELECT {_FIGURES} FROM posts WHERE origin_topic = %s AND origin_partition = %s "
        "AND origin_offset BETWEEN %s AND %s AND created_at BETWEEN %s AND %s",
        raw_topic,
        partition,
        wanted.first_origin,
        wanted.last_origin,
        wanted.first_event,
        wanted.last_event,
    )
    return Figures(*found) if found[0] else None
