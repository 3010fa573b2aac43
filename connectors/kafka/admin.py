"""Lists topics, creates missing ones, reads and changes their settings, and lists the members of groups."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.deadline import Deadline
from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import kafka_error_of, log_client_error, to_connector_error

RETRY_S = 0.1
"""Seconds between two questions for topics that Kafka does not know yet."""


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it should be. `config` holds Kafka's topic settings."""

    name: str
    partitions: int
    replication_factor: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


class GroupMember(NamedTuple):
    """A member of a consumer group.

    Attributes:
        client_id: The client id that it has given.
        address: Its address, as the broker sees it.
        partitions: The topics and partitions that it has.
    """

    client_id: str
    address: str
    partitions: frozenset[tuple[str, int]]


class KafkaAdmin:
    """Administrative requests. Blocking."""

    def __init__(self, config: KafkaConfig) -> None:
        """Check the client's configuration. The connection is made with the first request.

        Raises:
            RejectedError: The client does not accept the configuration, for example a malformed certificate.
        """
        self._config = config
        try:
            options: dict[str, Any] = {
                **config.librdkafka(client_id="emostream-admin"),
                "error_cb": log_client_error,
            }
            self._client = AdminClient(options)
        except KafkaException as exc:
            error = kafka_error_of(exc)
            raise RejectedError(f"the Kafka settings cannot be used: {error.str()}") from exc

    def partition_counts(self) -> dict[str, int]:
        """Returns every topic of the cluster with its number of partitions.

        Raises:
            ConnectorError: Kafka did not answer within `timeout_s`, or rejected the call.
        """
        try:
            metadata = self._client.list_topics(timeout=self._config.timeout_s)
        except KafkaException as exc:
            error = kafka_error_of(exc)
            if error.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE):
                raise UnavailableError(
                    f"no Kafka broker answers at {self._config.bootstrap} "
                    f"({self._config.security_protocol}, waited {self._config.timeout_s:g} s)"
                ) from exc
            raise to_connector_error(error, f"connecting to {self._config.bootstrap}") from exc
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}

    def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Returns the ids of topics; a topic that does not exist is left out.

        Kafka gives each topic an id. One that is deleted and made again under its name has another id.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        wanted = TopicCollection(list(names))
        found = {}
        for name, future in self._client.describe_topics(wanted, request_timeout=self._config.timeout_s).items():
            try:
                found[name] = str(future.result().topic_id)
            except KafkaException as exc:
                error = kafka_error_of(exc)
                if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise to_connector_error(error, f"reading the id of topic {name}") from exc
        return found

    def require_topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Returns the ids of topics that must exist.

        A broker may not know a topic yet that was just created. So this asks again, for up to `timeout_s`.

        Raises:
            UnavailableError: After this time Kafka still does not know a topic.
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        wanted = list(names)
        deadline = Deadline(self._config.timeout_s)
        while True:
            found = self.topic_ids(wanted)
            missing = [name for name in wanted if name not in found]
            if not missing:
                return found
            if not deadline.left_s:
                raise UnavailableError(f"Kafka does not know {', '.join(missing)}; was it deleted?")
            time.sleep(RETRY_S)

    def group_members(self, groups: Iterable[str]) -> dict[str, list[GroupMember]]:
        """Returns the members of consumer groups; none for a group that does not exist.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        wanted = list(groups)
        if not wanted:
            return {}
        found: dict[str, list[GroupMember]] = {}
        answers = self._client.describe_consumer_groups(wanted, request_timeout=self._config.timeout_s)
        for group, future in answers.items():
            try:
                members = future.result().members
            except KafkaException as exc:
                error = kafka_error_of(exc)
                if error.code() != KafkaError.GROUP_ID_NOT_FOUND:
                    raise to_connector_error(error, f"reading the members of {group}") from exc
                members = []
            found[group] = [
                GroupMember(
                    member.client_id,
                    member.host,
                    frozenset((one.topic, one.partition) for one in member.assignment.topic_partitions),
                )
                for member in members
            ]
        return found

    def create(self, specs: Sequence[TopicSpec]) -> list[str]:
        """Create the topics that do not exist, and return the names of those that this call created.

        Safe to call from two places at once: a topic that another caller creates meanwhile counts as existing.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        wanted = [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=spec.replication_factor,
                config=dict(spec.config),
            )
            for spec in specs
        ]
        created = []
        futures = self._client.create_topics(wanted, operation_timeout=self._config.timeout_s) if wanted else {}
        for name, future in futures.items():
            try:
                future.result()
            except KafkaException as exc:
                error = kafka_error_of(exc)
                if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise to_connector_error(error, f"creating topic {name}") from exc
            else:
                created.append(name)
        return created

    def topic_config(self, name: str) -> dict[str, str]:
        """Returns the effective settings of a topic.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        resource = ConfigResource(ResourceType.TOPIC, name)
        future = self._client.describe_configs([resource])[resource]
        try:
            entries = future.result(timeout=self._config.timeout_s)
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), f"reading the settings of topic {name}") from exc
        except TimeoutError as exc:
            raise UnavailableError(f"Kafka did not answer while reading the settings of topic {name}") from exc
        return {key: str(entry.value) for key, entry in entries.items()}

    def set_topic_config(self, name: str, config: Mapping[str, str]) -> None:
        """Change settings of a topic. The others stay as they are.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        future = self._client.incremental_alter_configs([resource])[resource]
        try:
            future.result(timeout=self._config.timeout_s)
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), f"changing the settings of topic {name}") from exc
        except TimeoutError as exc:
            raise UnavailableError(f"Kafka did not answer while changing the settings of topic {name}") from exc
