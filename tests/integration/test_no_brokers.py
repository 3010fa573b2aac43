"""A cluster whose last broker reports, while it stops, that the cluster has no brokers.

The bug in the library is https://github.com/confluentinc/librdkafka/issues/5301.
"""

from __future__ import annotations

from confluent_kafka import KafkaException, Producer

from connectors.kafka.config import KafkaConfig
from tests.integration.farewell_broker import FarewellBroker
from tests.integration.support import wait_for

CLIENTS = 20
"""Number of clients. With library versions that have the bug, two of three never reconnect."""


def reaches_kafka(client: Producer) -> bool:
    try:
        return "t" in client.list_topics("t", timeout=0.2).topics
    except KafkaException:
        return False


def test_every_client_reconnects() -> None:
    with FarewellBroker() as broker:
        config = KafkaConfig(broker.bootstrap)
        # The broker tells a client only when the client asks.
        options = {**config.librdkafka(topic_metadata_refresh_interval_ms=200), "error_cb": lambda error: None}
        clients = [Producer({**options, "client.id": f"client-{number}"}) for number in range(CLIENTS)]
        wait_for(lambda: all(map(reaches_kafka, clients)), what="the clients do not connect")

        broker.leave()
        wait_for(lambda: broker.notified == CLIENTS, what="not every client was notified")
        broker.come_back()

        missing = list(clients)

        def all_are_back() -> bool:
            missing[:] = [client for client in missing if not reaches_kafka(client)]
            return not missing

        wait_for(all_are_back, what="not every client reaches the broker again")
