"""Asks the workers to publish every window again."""

from __future__ import annotations

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.connections import kafka_config
from streams.records import ControlCommand, ControlRecord
from streams.settings import Settings
from streams.topology import check_topics


def request_republish(settings: Settings) -> None:
    """Write the command to the control topic; returns when Kafka has confirmed it.

    The workers then publish every window in Redis to the windows topic, each under its current revision.

    Raises:
        TopologyError: A topic is missing, or its partitions differ from the settings.
        ConnectorError: Kafka does not answer, or rejects the call.
    """
    kafka = kafka_config(settings)
    check_topics(settings, KafkaAdmin(kafka).partition_counts())
    producer = ConfirmedProducer(kafka, client_id="emostream-control", give_up_after_s=settings.kafka_timeout_s)
    try:
        command = ControlRecord(command=ControlCommand.REPUBLISH_WINDOWS).to_json()
        producer.submit([Outgoing(settings.topic_control, command)]).result()
    finally:
        producer.close()
