"""A lease on some work, held by at most one live process: the member of a consumer group that has its partition.

Kafka's group coordinator decides who holds the lease, and notices a process that has died or was paused. A process that
was paused may still believe that it holds the lease, so what it writes must be fenced (`transactional`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.errors import ConnectorError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, log_client_error, to_connector_error

logger = logging.getLogger(__name__)

_POLL_S = 0.2

_TOPIC_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}


class GroupLease:
    """Membership in a group in which one member at a time holds partition 0 of a topic. Nothing is consumed.

    A thread of its own polls the group, and calls `on_held`, `on_lost` and `on_failed`. The member that holds the lease
    keeps it when others join.
    """

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        topic: str,
        client_id: str | None = None,
        on_held: Callable[[], None],
        on_lost: Callable[[], None],
        on_failed: Callable[[ConnectorError], None],
    ) -> None:
        """Join the group.

        Args:
            config: How to reach Kafka.
            group: The consumer group; its name says what the lease is for.
            topic: A topic that exists. Many groups may use the same topic.
            client_id: Tells who a member is (`KafkaAdmin.group_members`); by default the group.
            on_held: Called when this member has got the lease.
            on_lost: Called when it has lost it, or is giving it up. The next member gets the lease when this call
                returns, so it waits until the work has stopped, at most `KafkaConfig.revoke_deadline_s`.
            on_failed: Called when Kafka has rejected the membership for good. The thread ends.

        Raises:
            ConnectorError: The client does not accept the configuration.
        """
        self._topic = topic
        self._on_held = on_held
        self._on_lost = on_lost
        self._on_failed = on_failed
        self._held = False
        self._stopping = threading.Event()
        options = config.group_member(
            group,
            client_id,
            # Unlike the other strategies, this one leaves the partition with the member that has it.
            partition_assignment_strategy="cooperative-sticky",
        )
        try:
            self._consumer = Consumer({**options, "error_cb": log_client_error})
            self._consumer.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke)
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), f"joining {group}") from exc
        self._thread = threading.Thread(target=self._serve, name=f"lease-{group}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                message = self._consumer.poll(_POLL_S)
                error = None if message is None else message.error()
                # Whether a topic that is missing will come back is not for a lease to decide.
                if error is not None and not is_transient(error) and error.code() not in _TOPIC_MISSING:
                    raise KafkaException(error)
        except KafkaException as exc:
            self._give_up()
            self._on_failed(to_connector_error(kafka_error_of(exc), f"holding a lease in {self._topic}"))
        finally:
            self._give_up()
            self._consumer.close()

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        if partitions:
            consumer.pause(partitions)
        if _has_lease(partitions) and not self._held:
            self._held = True
            self._on_held()

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if _has_lease(partitions):
            self._give_up()
        consumer.incremental_unassign(partitions)

    def _give_up(self) -> None:
        if self._held:
            self._held = False
            self._on_lost()

    def close(self, timeout_s: float = 5.0) -> None:
        """Leave the group, so that another member gets the lease at once. Blocks until then, at most `timeout_s`."""
        self._stopping.set()
        self._thread.join(timeout_s)


def _has_lease(partitions: list[TopicPartition]) -> bool:
    """Returns whether partition 0 is among them. A topic should have no other, but somebody may add one."""
    return any(partition.partition == 0 for partition in partitions)
