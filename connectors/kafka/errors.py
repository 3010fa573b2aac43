"""Maps the errors of confluent-kafka to those of `connectors.errors`."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.repeats import Repeats

logger = logging.getLogger(__name__)

# The client's metadata is out of date for a moment after a broker has started.
_UNKNOWN = {KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC}

_UNAVAILABLE = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MAX_POLL_EXCEEDED,  # a paused process lost its partitions; the next poll joins the group again
    KafkaError._WAIT_COORD,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._DESTROY,  # the topic was deleted; whoever watches it says so
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_LEADER_EPOCH,
} | _UNKNOWN

# Errors that an operator must know of.
_LOGGED = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._RESOLVE,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}

_repeats = Repeats()
"""By the error's code. A process has many clients, and each reports an absent cluster for itself, several times a
second."""


def kafka_error_of(exc: KafkaException) -> KafkaError:
    """Returns the KafkaError inside an exception."""
    error: KafkaError = exc.args[0]
    return error


def is_transient(error: KafkaError) -> bool:
    """Returns whether the same request may succeed later without an operator's help."""
    return not error.fatal() and (error.retriable() or error.code() in _UNAVAILABLE)


def to_connector_error(error: KafkaError, doing: str) -> ConnectorError:
    """Returns an UnavailableError if the error is transient, else a RejectedError.

    Args:
        error: The client's error.
        doing: What was attempted, for the message, such as `writing to posts.dead`.
    """
    detail = error.str() or error.name()
    if is_transient(error):
        what = "does not know the topic or its partition" if error.code() in _UNKNOWN else "did not answer"
        return UnavailableError(f"Kafka {what} while {doing}: {detail}")
    return RejectedError(f"Kafka refused while {doing}: {detail} ({error.name()})")


def log_client_error(error: KafkaError) -> None:
    """Log an error that concerns no record; used as the clients' `error_cb`.

    Errors that an operator must know of are warnings, those of one kind at most once a minute over all clients of the
    process. Errors of single connections are logged with DEBUG. Without such a callback confluent-kafka
    raises these errors out of `poll` and `flush`.
    """
    warn = error.fatal() or (error.code() in _LOGGED and _repeats.due(error.code()))
    logger.log(logging.WARNING if warn else logging.DEBUG, "Kafka: %s", error.str())
