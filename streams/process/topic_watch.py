"""Stops a process whose topics were deleted while it runs. Its clients would only repeat that they do not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from streams.errors import TopologyError

CHECK_S = 5.0
"""Seconds between two checks."""

GONE_S = 20.0
"""Seconds after which a topic that Kafka does not know counts as deleted. A broker that has just started may not know
its topics yet."""


class TopicWatch:
    """Watches that topics exist, and that none of them is deleted and made again."""

    def __init__(self, admin: KafkaAdmin, ids: Mapping[str, str]) -> None:
        """Watch the topics in `ids`, which has the id of each topic."""
        self._admin = admin
        self._ids = ids
        self._missing_since: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Check the topics until `stop` is set. Blocking.

        Raises:
            TopologyError: A topic was deleted. The message says what to do.
            ConnectorError: Kafka rejects the call.
        """
        answers = True
        while not stop.wait(CHECK_S):
            try:
                if not answers:
                    # While no broker answers, librdkafka 2.11 keeps half a core busy if it is asked for ids, and only
                    # waits if it is asked for all topics.
                    self._admin.partition_counts()
                found = self._admin.topic_ids(self._ids)
            except UnavailableError:
                # Only time in which Kafka answers counts.
                self._missing_since.clear()
                answers = False
            else:
                answers = True
                self.check(found, time.monotonic())

    def check(self, found: Mapping[str, str], now: float) -> None:
        """Compare the ids that Kafka has now, at the time `now` in seconds of a clock that never goes back.

        Raises:
            TopologyError: A topic was deleted. The message says what to do.
        """
        self._missing_since = {name: self._missing_since.get(name, now) for name in self._ids if name not in found}
        gone = [name for name, since in self._missing_since.items() if now - since >= GONE_S]
        gone += [name for name, known in found.items() if known != self._ids[name]]
        if gone:
            raise TopologyError(
                f"{', '.join(sorted(gone))}: deleted while this process ran; stop the workers and sinks, run "
                "`emostream init`, and start them again"
            )
