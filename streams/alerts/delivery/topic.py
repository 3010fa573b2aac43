"""Writes the events of incidents to the topic of alerts."""

from __future__ import annotations

import asyncio

from connectors.errors import ConnectorError, InvalidDataError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.notify.outcome import Delivered, Outcome, Refused, TryAgain
from streams.records import AlertRecord
from streams.redact import redact

GIVE_UP_S = 30.0
"""Seconds after which a record that no broker has confirmed fails. It is written again later, perhaps twice."""


class AlertTopic:
    """A producer of the topic of alerts, whose key is the incident. It is made with the first record."""

    def __init__(self, config: KafkaConfig, topic: str) -> None:
        """Prepare to write. No broker need answer."""
        self._config = config
        self._topic = topic
        self._producer: ConfirmedProducer | None = None

    async def send(self, record: AlertRecord) -> Outcome:
        """Write a record, and wait until the broker has confirmed it."""
        if self._producer is None:
            self._producer = ConfirmedProducer(self._config, client_id="emostream-alerts", give_up_after_s=GIVE_UP_S)
        outgoing = Outgoing(self._topic, record.to_json(), record.incident.encode())
        try:
            await self._producer.deliver([outgoing])
        except InvalidDataError as exc:
            return Refused(redact(str(exc)))
        except ConnectorError as exc:
            # The client may have failed for good, and a new one has not.
            await self.close()
            return TryAgain(redact(str(exc)))
        return Delivered(f"written to {self._topic}")

    async def close(self) -> None:
        """Close the producer, if there is one. A later `send` makes another one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.close, 0.0)
