"""Refuses to write to a database that holds offsets of topics which were deleted and made again."""

from __future__ import annotations

from connectors.kafka.admin import KafkaAdmin
from streams.settings import Settings
from streams.sink.history import History
from streams.topology import check_same_topics, sink_topics


def require_same_topics(settings: Settings, admin: KafkaAdmin, history: History) -> dict[str, str]:
    """Returns the ids of the topics whose offsets or origins Postgres holds. Stores an id that Postgres does not have.

    Raises:
        TopologyError: A topic was deleted and made again. The message says what to do.
        ConnectorError: Kafka or Postgres does not answer, or rejects the call.
    """
    ids = admin.require_topic_ids((settings.topic_raw, *sink_topics(settings)))
    check_same_topics(history.changed_topics(ids), "PostgreSQL")
    return ids
