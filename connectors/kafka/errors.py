"""Maps confluent-kafka's errors to ours."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException

from connectors.errors import ConnectorError, RejectedError, UnavailableError

logger = logging.getLogger(__name__)

_UNAVAILABLE = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MAX_POLL_EXCEEDED,  # the process slept; the partitions are lost, and polling joins the group again
    KafkaError._WAIT_COORD,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    # The client's view of the cluster, which is behind for a moment after a broker started.
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
}


_TELL = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._RESOLVE,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}


def kafka_error_of(exc: KafkaException) -> KafkaError:
    """The KafkaError inside an exception."""
    error: KafkaError = exc.args[0]
    return error


def is_transient(error: KafkaError) -> bool:
    """Whether the same request may succeed later without anyone doing anything."""
    return not error.fatal() and (error.retriable() or error.code() in _UNAVAILABLE)


def to_connector_error(error: KafkaError, doing: str) -> ConnectorError:
    """Our error for one of Kafka's: `doing` says what was attempted, e.g. `writing to posts.dead`."""
    detail = error.str() or error.name()
    if is_transient(error):
        return UnavailableError(f"Kafka did not answer while {doing}: {detail}")
    return RejectedError(f"Kafka refused while {doing}: {detail} ({error.name()})")


def log_client_error(error: KafkaError) -> None:
    """The `error_cb` of our clients: what an operator must know is a warning, single connections are left to DEBUG.

    Without such a callback confluent-kafka raises these errors, which concern no record, out of poll and flush.
    """
    level = logging.WARNING if error.fatal() or error.code() in _TELL else logging.DEBUG
    logger.log(level, "Kafka: %s", error.str())
