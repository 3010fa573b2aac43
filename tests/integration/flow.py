"""A producer that goes on until the test tells it to stop, so that a test need not be quicker than the workers."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from types import TracebackType

from confluent_kafka import Producer

from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.settings import Settings

CHUNK = 50
PAUSE_S = 0.05


def ends(settings: Settings) -> dict[int, int]:
    """By partition, how many results there are."""
    scan = TopicScan(kafka_config(settings), settings.topic_classified, group=scan_group(settings))
    try:
        return {partition: end for partition, (_, end) in scan.bounds.items()}
    finally:
        scan.close()


class Flow(threading.Thread):
    """Produces posts until it is told to stop. A context manager.

    Attributes:
        sent: posts so far.
    """

    def __init__(
        self, settings: Settings, value: Callable[[int], bytes], *, ahead: int, rate: float = math.inf
    ) -> None:
        """A flow that has not begun.

        Args:
            settings: of the test.
            value: makes a post, given its number.
            ahead: posts that may wait to be classified; with more of them it waits for the workers.
            rate: posts a second at most.
        """
        super().__init__(name="flow")
        self.sent = 0
        self._settings = settings
        self._value = value
        self._ahead = ahead
        self._pause_s = CHUNK / rate
        self._told_to_stop = threading.Event()
        self._error: BaseException | None = None

    def finish(self) -> None:
        """Stop it, and wait until Kafka has confirmed every post."""
        self._told_to_stop.set()
        self.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Flow:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._told_to_stop.set()
        self.join()

    def run(self) -> None:
        try:
            self._produce()
        except BaseException as exc:  # noqa: BLE001 - crosses from the thread to the test
            self._error = exc

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self._settings.kafka_bootstrap, "linger.ms": 5})
        classified = 0
        while not self._told_to_stop.wait(self._pause_s):
            if self.sent - classified > self._ahead:
                classified = sum(ends(self._settings).values())
            if self.sent - classified > self._ahead:
                self._told_to_stop.wait(PAUSE_S)
                continue
            for number in range(self.sent, self.sent + CHUNK):
                producer.produce(self._settings.topic_raw, self._value(number), str(number).encode())
                producer.poll(0)
            self.sent += CHUNK
        assert producer.flush(120) == 0
