"""Statements on `sink_topics`, the ids of the topics whose offsets Postgres holds, and the renaming of topics."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.postgres import Connection
from streams.sink.sql import execute_each, fetch_all


def changed_topics(connection: Connection, ids: Mapping[str, str]) -> list[str]:
    """Returns the topics whose id is not the stored one: Postgres holds offsets of an earlier topic of the name.

    `ids` has the present id of each topic. The id of a topic that has none in the table is stored.
    """
    execute_each(connection, "INSERT INTO sink_topics (topic, id) VALUES (%s, %s) ON CONFLICT DO NOTHING", ids.items())
    stored = dict(fetch_all(connection, "SELECT topic, id FROM sink_topics WHERE topic = ANY(%s)", list(ids)))
    return [topic for topic, present in ids.items() if stored[topic] != present]


def archive(connection: Connection, topic: str, present: str, former: str) -> None:
    """Rename the topic in all rows of the earlier topic to `former`, and store the id of the present topic.

    No row is lost. The offsets of the new topic begin at 0 again, so under the same name its posts would be mistaken
    for those of the earlier topic.
    """
    for statement in (
        "UPDATE posts SET origin_topic = %s WHERE origin_topic = %s",
        "UPDATE sink_ledger SET origin_topic = %s WHERE origin_topic = %s",
        "UPDATE sink_ledger SET topic = %s WHERE topic = %s",
        "UPDATE sink_gaps SET topic = %s WHERE topic = %s",
        "UPDATE sink_offsets SET topic = %s WHERE topic = %s",
    ):
        connection.execute(statement, (former, topic))
    connection.execute("UPDATE sink_topics SET id = %s WHERE topic = %s", (present, topic))
