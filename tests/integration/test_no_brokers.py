"""A cluster whose last broker says, while it stops, that there is none: https://github.com/confluentinc/librdkafka/issues/5301."""

from __future__ import annotations

from confluent_kafka import KafkaException, Producer

from connectors.kafka.config import KafkaConfig
from tests.integration.farewell_broker import FarewellBroker
from tests.integration.support import wait_for

CLIENTS = 20
"""With the versions that have the fault, two in three are lost for ever."""


def reaches_kafka(client: Producer) -> bool:
    try:
        return "t" in client.list_topics("t", timeout=0.2).topics
    except KafkaException:
        return False


def test_every_client_comes_back() -> None:
    with FarewellBroker() as broker:
        config = KafkaConfig(broker.bootstrap)
        # It is when they ask that they are told.
        options = {**config.librdkafka(topic_metadata_refresh_interval_ms=200), "error_cb": lambda error: None}
        clients = [Producer({**options, "client.id": f"client-{number}"}) for number in range(CLIENTS)]
        wait_for(lambda: all(map(reaches_kafka, clients)), what="the clients are connected")

        broker.leave()
        wait_for(lambda: broker.told == CLIENTS, what="every client was told")
        broker.come_back()

        missing = list(clients)

        def all_are_back() -> bool:
            missing[:] = [client for client in missing if not reaches_kafka(client)]
            return not missing

        wait_for(all_are_back, what="the clients come back")
