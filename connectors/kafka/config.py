"""How to reach Kafka: one description for librdkafka and for aiokafka, which is Faust's transport."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REBOOTSTRAP_MS = 5_000
"""Milliseconds without an answer from any broker after which a client returns to the bootstrap addresses. When the last
broker of a cluster shuts down, it reports that the cluster has no brokers. A client then forgets every address, the
bootstrap addresses included, and by librdkafka's default it is left without addresses for five minutes."""


MAX_POLL_INTERVAL_MS = 300_000
"""Greatest time between two polls in milliseconds; after it the group takes the partitions away. A batch in flight may
hold up polling, and in the worst case a position lookup during a slow fail-over does."""

READ_WAIT_MS = 10
"""Milliseconds that the broker holds the answer to a reader that has reached the end of its partitions. The reader
learns only from the answer that it is at the end, and asks for other offsets only after it. librdkafka's default is
half a second."""

FETCH_MAX_BYTES = 2 * 1024 * 1024
"""Bytes of one answer to a consumer, over all its partitions, as compressed. A single batch may exceed it. librdkafka
decompresses an answer as a whole, so this limits its memory: an answer in snappy may take 21 times as much."""

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""Longest answer in bytes that a client takes, and the longest batch in zstd when it is decompressed. librdkafka has no
such limit for the other compressions, so the settings of the topics limit them (`streams.topology`)."""

QUEUED_MAX_KBYTES = 16_384
"""KiB of records that librdkafka fetches ahead. The last answer may exceed it."""


@dataclass(frozen=True)
class KafkaConfig:
    """Addresses and credentials of a Kafka cluster. The repr hides the secrets.

    Attributes:
        bootstrap: `host:port` pairs separated by commas.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        timeout_s: Seconds that a request may take.
        session_timeout_ms: Milliseconds without a heartbeat after which a consumer loses its partitions.
    """

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    timeout_s: float = 10.0
    session_timeout_ms: int = 10_000

    @property
    def heartbeat_ms(self) -> int:
        """Milliseconds between two heartbeats of a consumer: at least three in a session."""
        return min(3_000, self.session_timeout_ms // 3)

    @property
    def revoke_deadline_s(self) -> float:
        """Seconds that a rebalance or a shutdown may wait for the batch in flight.

        The deadline is shorter than the session timeout, after which the group gives the partitions to other members.
        A record that is delivered after the deadline is recognised by its origin and counted once.
        """
        return 0.8 * self.session_timeout_ms / 1_000

    def librdkafka(self, **extra: str | int | float | bool) -> dict[str, Any]:
        """Returns the configuration of a confluent-kafka client.

        Args:
            extra: Further options of librdkafka, written with underscores for dots.
        """
        options = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca_location and str(self.ssl_ca_location),
            "ssl.certificate.location": self.ssl_certificate_location and str(self.ssl_certificate_location),
            "ssl.key.location": self.ssl_key_location and str(self.ssl_key_location),
            "ssl.key.password": self.ssl_key_password,
            # By default librdkafka writes a line to stderr for every broken connection.
            "log_level": 2,
            "metadata.recovery.rebootstrap.trigger.ms": REBOOTSTRAP_MS,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {**given, **{name.replace("_", "."): value for name, value in extra.items()}}

    def consumer(self, group: str, **extra: str | int | float | bool) -> dict[str, Any]:
        """Returns the configuration of a confluent-kafka consumer that commits nothing by itself.

        It limits what the client keeps in memory (docs/operations.md).

        Args:
            group: The consumer group, which librdkafka requires also of a consumer that assigns partitions itself.
            extra: Further options of librdkafka, written with underscores for dots.
        """
        return self.librdkafka(
            group_id=group,
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            fetch_max_bytes=FETCH_MAX_BYTES,
            receive_message_max_bytes=MAX_RESPONSE_BYTES,
            queued_max_messages_kbytes=QUEUED_MAX_KBYTES,
            **extra,
        )

    def bounded_reader(self, group: str, **extra: str | int | float | bool) -> dict[str, Any]:
        """Returns the configuration of a consumer that reads to an end, and joins no group; see `consumer`.

        Args:
            group: The consumer group, which librdkafka requires.
            extra: Further options of librdkafka, written with underscores for dots.
        """
        return self.consumer(group, enable_partition_eof=True, fetch_wait_max_ms=READ_WAIT_MS, **extra)

    def group_member(self, group: str, client_id: str | None, **extra: str | int | float | bool) -> dict[str, Any]:
        """Returns the configuration of a confluent-kafka consumer that joins a group; see `consumer`.

        Args:
            group: The consumer group.
            client_id: Shown in the broker's logs and metrics; by default the group.
            extra: Further options of librdkafka, written with underscores for dots.
        """
        return self.consumer(
            group,
            client_id=client_id or group,
            session_timeout_ms=self.session_timeout_ms,
            heartbeat_interval_ms=self.heartbeat_ms,
            **extra,
        )

    def aiokafka(self) -> dict[str, Any]:
        """Returns the configuration of an aiokafka client."""
        options = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "ssl_context": self.ssl_context(),
            "request_timeout_ms": int(self.timeout_s * 1_000),
        }
        return {name: value for name, value in options.items() if value is not None}

    def ssl_context(self) -> ssl.SSLContext | None:
        """Returns the TLS context for aiokafka, which Faust uses too; None if the security protocol has no TLS."""
        if not self.security_protocol.endswith("SSL"):
            return None
        context = ssl.create_default_context(cafile=self.ssl_ca_location and str(self.ssl_ca_location))
        if self.ssl_certificate_location is not None:
            context.load_cert_chain(
                self.ssl_certificate_location, self.ssl_key_location, password=self.ssl_key_password
            )
        return context
