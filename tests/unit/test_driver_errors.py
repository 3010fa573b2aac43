"""Every error of the drivers of Kafka and PostgreSQL is translated, and only transient ones into UnavailableError."""

from __future__ import annotations

import inspect

import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.errors import ConnectorError, InvalidDataError, RejectedError, UnavailableError
from connectors.kafka.errors import kafka_error_of, log_client_error, to_connector_error
from connectors.postgres import address_of, connect, postgres_errors
from connectors.repeats import INTERVAL_S, Repeats

OURS = (UnavailableError, RejectedError)

# Kafka

KAFKA_CODES = sorted(
    {
        value
        for name, value in vars(KafkaError).items()
        if name.lstrip("_").isupper() and isinstance(value, int) and value != KafkaError.NO_ERROR
    }
)


def test_the_list_of_kafka_codes_is_not_empty() -> None:
    assert len(KAFKA_CODES) > 150


def test_an_absent_cluster_is_logged_once_for_all_clients(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.errors._repeats", Repeats())
    clock = 5.0
    monkeypatch.setattr("connectors.repeats.time.monotonic", lambda: clock)
    for _ in range(100):
        log_client_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down"))
    log_client_error(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    assert caplog.messages == ["Kafka: 2/2 brokers are down", "Kafka: wrong password"]
    clock += INTERVAL_S
    log_client_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down"))
    assert len(caplog.messages) == 3


def test_a_topic_that_is_unknown_is_not_a_missing_answer() -> None:
    error = to_connector_error(KafkaError(KafkaError._UNKNOWN_TOPIC), "reading posts.raw")
    assert str(error).startswith("Kafka does not know the topic or its partition while reading posts.raw: ")


@pytest.mark.parametrize("code", KAFKA_CODES)
def test_every_kafka_error_is_translated(code: int) -> None:
    error = KafkaError(code)
    ours = to_connector_error(error, "writing to posts.dead")
    assert type(ours) in OURS
    assert "while writing to posts.dead: " in str(ours)
    assert "\n" not in str(ours)
    # A fatal error is never transient, whatever its code.
    assert type(to_connector_error(KafkaError(code, "r", True, True, False), "x")) is RejectedError
    # An error that the client calls retriable is transient.
    assert type(to_connector_error(KafkaError(code, "r", False, True, False), "x")) is UnavailableError


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MSG_TIMED_OUT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
    ],
)
def test_transient_kafka_errors_are_unavailable(code: int) -> None:
    assert type(to_connector_error(KafkaError(code), "x")) is UnavailableError


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._AUTHENTICATION,
        KafkaError._INVALID_ARG,
        KafkaError._FENCED,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.INVALID_REPLICATION_FACTOR,
    ],
)
def test_lasting_kafka_errors_are_rejected(code: int) -> None:
    error = to_connector_error(KafkaError(code), "x")
    assert type(error) is RejectedError
    assert KafkaError(code).name() in str(error)


def test_the_error_inside_an_exception() -> None:
    error = KafkaError(KafkaError._TRANSPORT)
    assert kafka_error_of(KafkaException(error)) is error


# PostgreSQL

POSTGRES_ERRORS = {
    found
    for module in (psycopg, psycopg.errors)
    for found in vars(module).values()
    if inspect.isclass(found) and issubclass(found, psycopg.Error)
}


def from_postgres(error: Exception) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught, postgres_errors("writing posts"):
        raise error
    assert caught.value.__cause__ is error
    assert "while writing posts: " in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_list_of_postgres_errors_is_not_empty() -> None:
    assert len(POSTGRES_ERRORS) > 250


@pytest.mark.parametrize("error", sorted(POSTGRES_ERRORS, key=lambda found: found.__name__))
def test_every_postgres_error_is_translated(error: type[psycopg.Error]) -> None:
    ours = from_postgres(error("first line\nDETAIL: second"))
    assert type(ours) in (*OURS, InvalidDataError)
    state = error.sqlstate or ""
    # These SQLSTATE classes mean that the server refuses the data,
    if state[:2] in {"22", "23"}:
        assert type(ours) is InvalidDataError
    # these that it refuses the user, the database or the statement,
    if state[:2] in {"28", "2B", "3D", "3F", "42", "44"}:
        assert isinstance(ours, RejectedError)
    # and these that the connection, a race, resources, an operator or the machine is the reason, which is transient.
    if state[:2] in {"08", "40", "53", "57", "58"} and state != "40002":
        assert type(ours) is UnavailableError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError('FATAL:  password authentication failed for user "x"'), RejectedError),
        (psycopg.OperationalError('FATAL:  database "x" does not exist'), RejectedError),
        (psycopg.OperationalError('FATAL:  no pg_hba.conf entry for host "10.0.0.1"'), RejectedError),
        (psycopg.OperationalError('FATAL:  role "x" is not permitted to log in'), RejectedError),
        (psycopg.OperationalError('FATAL:  permission denied for database "x"'), RejectedError),
        (psycopg.OperationalError("FATAL:  sorry, too many clients already"), UnavailableError),
        (psycopg.OperationalError("connection refused"), UnavailableError),
        (psycopg.errors.ConnectionTimeout("timeout expired"), UnavailableError),
        (psycopg.InterfaceError("the connection is closed"), UnavailableError),
        (psycopg.OperationalError(""), UnavailableError),
    ],
)
def test_refusals_while_connecting_are_rejected(error: psycopg.Error, expected: type[ConnectorError]) -> None:
    assert type(from_postgres(error)) is expected


def test_the_text_counts_only_where_there_is_no_sqlstate() -> None:
    error = psycopg.errors.AdminShutdown("a function that does not exist was running")
    assert type(from_postgres(error)) is UnavailableError


def test_defects_are_not_translated() -> None:
    with pytest.raises(KeyError), postgres_errors("x"):
        raise KeyError("ours")


# Addresses in messages


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:hunter@h/d?password=x", "h:5432/d"),
        ("postgresql://u:hunter@[::1]:1", "::1:1"),
        ("postgresql://u:p,%40@h1:1,h2,h3:3/a%20b", "h1:1,h2:5432,h3:3/a b"),
        ("postgresql://h1,h2/d?port=7", "h1:7,h2:7/d"),
        ("postgresql://%2Ftmp/d", "/tmp:5432/d"),
        ("postgresql://h/d?host=/tmp&dbname=e", "/tmp:5432/e"),
    ],
)
def test_a_database_is_shown_without_its_credentials(dsn: str, shown: str) -> None:
    assert address_of(dsn) == shown


def test_an_address_that_libpq_cannot_read_is_refused() -> None:
    with pytest.raises(RejectedError, match=r"PostgreSQL refused while reading its address: .*nonsense"):
        connect("postgresql://h/d?nonsense=1", application_name="tests")


def test_a_standby_is_unavailable() -> None:
    assert type(from_postgres(psycopg.errors.ReadOnlySqlTransaction("read-only"))) is UnavailableError
