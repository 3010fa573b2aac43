"""Settings accept the values that the drivers can use, alone and together, and refuse others in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from streams.connections import kafka_config, s3_config
from streams.setting_types import Address
from tests.settings_support import SASL, SECRET, load, problems


@pytest.mark.parametrize(
    ("value", "sizes"),
    [
        ("60:3600", ((60, 3_600),)),
        ("5m:7d, 1m:2d", ((60, 172_800), (300, 604_800))),
        (" 1s:1s ,31d:3660d", ((1, 1), (2_678_400, 316_224_000))),
    ],
)
def test_window_sizes_are_a_sorted_list(value: str, sizes: tuple[tuple[int, int], ...]) -> None:
    assert load(WINDOW_SIZES=value).window_sizes == sizes


def test_window_sizes_are_formatted_as_they_are_written() -> None:
    text = "1m:2d,5m:7d,1h:30d,1d:400d"
    assert ",".join(map(str, load().window_sizes)) == text
    assert load(WINDOW_SIZES=text) == load()


@pytest.mark.parametrize(
    "value",
    [
        *("60", "0:1d", "-60:1d", "60:1d,", ",", "60:1d;300:1d", "60:1d,60:2d", "60:1d, 1m:1d", "1.5:1d", "1m:", ":1d"),
        *("1M:2d", "1m:2w", "32d:40d", "1h:59m", "1d:3661d", "1m:2d:3d", "[60:1d]", "1m:9999999999"),
    ],
)
def test_impossible_window_sizes_are_refused(value: str) -> None:
    (line,) = problems(WINDOW_SIZES=value)
    assert line.startswith("EMOSTREAM_WINDOW_SIZES: ")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PARTITIONS", "many", "not a whole number"),
        ("PARTITIONS", "2.5", "not a whole number"),
        ("PARTITIONS", "0", "must be at least 1"),
        ("WEB_PORT", "65536", "must be at most 65535"),
        ("KAFKA_TIMEOUT_S", "x", "not a number"),
        ("SINK_MAX_DELAY_S", "31536001", "must be at most 31536000"),
        ("KEEP_TEXT", "perhaps", "neither true nor false"),
        ("LOG_LEVEL", "LOUD", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("REDIS_PREFIX", "x" * 65, "has more than 64 characters"),
    ],
)
def test_a_problem_is_said_in_plain_words(name: str, value: str, problem: str) -> None:
    assert problems(**{name: value}) == [f"EMOSTREAM_{name}: {problem}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTITIONS", "0"),
        ("PARTITIONS", "many"),
        ("PARTITIONS", "2.5"),
        ("SHARDS", "-1"),
        ("SHARDS", "1025"),
        ("KAFKA_TIMEOUT_S", "nan"),
        ("KAFKA_TIMEOUT_S", "0"),
        ("ALLOWED_LATENESS_S", "inf"),
        ("ALLOWED_LATENESS_S", "nan"),
        ("MAX_FUTURE_S", "-1"),
        ("WEB_PORT", "65536"),
        ("KEEP_TEXT", "perhaps"),
        ("LOG_LEVEL", "info"),
        ("REDIS_PREFIX", "a{b}"),
        ("TOPIC_RAW", "posts raw"),
        ("TOPIC_RAW", ".."),
        ("TOPIC_RAW", "x" * 250),
        ("TOPIC_RAW", "posts\n"),
        ("GROUP_PREFIX", "a/b"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_BOOTSTRAP", "broker"),
        ("KAFKA_BOOTSTRAP", "broker:"),
        ("KAFKA_BOOTSTRAP", "broker:0"),
        ("KAFKA_BOOTSTRAP", "broker:65536"),
        ("KAFKA_BOOTSTRAP", "a:1,,b:2"),
        ("KAFKA_BOOTSTRAP", "kafka://broker:9092"),
        ("KAFKA_BOOTSTRAP", "::1:9092"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "http://h:6379"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:6379"),
        ("REDIS_URL", "redis://h:port"),
        ("REDIS_URL", "redis://h:99999"),
        ("REDIS_URL", "redis://[::1"),
        ("POSTGRES_DSN", "host=h dbname=d"),
        ("POSTGRES_DSN", "mysql://h/d"),
        ("POSTGRES_DSN", "postgresql:///d"),
        ("POSTGRES_DSN", "postgresql+psycopg://h/d"),
        ("POSTGRES_DSN", "postgresql://h1:1,h2:port/d"),
        ("S3_ENDPOINT", "127.0.0.1:9000"),
        ("S3_ENDPOINT", "ftp://h"),
        ("MODEL_URI", "s3://"),
        ("MODEL_URI", "s3://Bucket/x"),
        ("MODEL_URI", "gs://bucket/x"),
    ],
)
def test_an_impossible_value_is_one_line_that_names_the_setting(name: str, value: str) -> None:
    (line,) = problems(**{name: value})
    assert "should" not in line, "pydantic's words"
    assert line.startswith(f"EMOSTREAM_{name}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP", "broker-1:9092, [2001:db8::1]:65535"),
        ("REDIS_URL", "rediss://user:p%40ss@[::1]:6380/3"),
        ("POSTGRES_DSN", "postgres://u:p@h/d?sslmode=require"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "redis://h_1?db=3&password=a%2Fb"),
        ("POSTGRES_DSN", "postgresql://h1:5432,[::1]:5433,h3/d?target_session_attrs=any"),
        ("POSTGRES_DSN", "postgresql://u:p,%40@h1,h2"),
        ("POSTGRES_DSN", "postgresql://%2Fvar%2Frun%2FPostgres:5433/d"),
        ("POSTGRES_DSN", "postgresql://h/d?host=/tmp&options=-c%20geqo%3Doff&password=a+b"),
        ("S3_ENDPOINT", "https://minio.example"),
        ("S3_ENDPOINT", "http://127.0.0.1:9000/s3"),
        ("MODEL_URI", "models/emotion"),
        ("MODEL_URI", "s3://a.b-1/x/y"),
        ("TOPIC_RAW", "x" * 249),
        ("WEB_PORT", "0"),
        ("MAX_FUTURE_S", "0"),
    ],
)
def test_unusual_values_are_accepted(name: str, value: str) -> None:
    found = getattr(load(**{name: value}), name.lower())
    if isinstance(found, Address):
        assert found.get_secret_value() == value


@pytest.mark.parametrize("password", ["p@ss", "p[w", "p^w", "p'w", "p w", "p,w", "pässword", "p%zz"])
def test_the_drivers_read_an_unusual_password_as_it_is_written(password: str) -> None:
    settings = load(REDIS_URL=f"REDIS://u:{password}@h:1/2", POSTGRES_DSN=f"postgresql://u:{password}@h/d")
    assert parse_url(settings.redis_url.get_secret_value()) == {
        "host": "h",
        "port": 1,
        "db": 2,
        "username": "u",
        "password": password,
    }
    if password != "p%zz":  # libpq refuses a "%" that encodes nothing
        found = conninfo_to_dict(settings.postgres_dsn.get_secret_value())
        assert found == {"host": "h", "dbname": "d", "user": "u", "password": password}
    assert password in settings.secrets()


def test_a_slash_at_the_end_of_the_s3_endpoint_is_removed() -> None:
    assert load(S3_ENDPOINT="HTTP://minio:9000/").s3_endpoint == "http://minio:9000"


# Settings that depend on each other


def test_sasl_reaches_the_client() -> None:
    options = kafka_config(load(**SASL)).librdkafka()
    assert [options[f"sasl.{name}"] for name in ("mechanism", "username", "password")] == ["PLAIN", "me", SECRET]


@pytest.mark.parametrize("missing", ["KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
def test_sasl_needs_a_mechanism_a_user_and_a_password(missing: str) -> None:
    (line,) = problems(**{**SASL, missing: ""})
    assert missing in line


def test_a_mechanism_without_sasl_is_refused() -> None:
    (line,) = problems(KAFKA_SASL_MECHANISM="PLAIN")
    assert "KAFKA_SECURITY_PROTOCOL" in line


@pytest.mark.parametrize("name", ["KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_CERTIFICATE_LOCATION", "KAFKA_SSL_KEY_LOCATION"])
def test_a_certificate_must_be_a_file(name: str, tmp_path: Path) -> None:
    (line,) = problems(**{name: str(tmp_path)})
    assert name in line
    (line,) = problems(**{name: str(tmp_path / ("x" * 300))})
    assert name in line
    pem = tmp_path / "a.pem"
    pem.touch()
    load(**{name: str(pem)})


@pytest.mark.parametrize("given", ["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"])
def test_one_of_the_two_s3_keys_is_refused(given: str) -> None:
    (line,) = problems(**{given: SECRET})
    assert "S3_ACCESS_KEY_ID" in line
    assert SECRET not in line


def test_both_s3_keys_reach_the_client() -> None:
    config = s3_config(load(S3_ACCESS_KEY_ID="id", S3_SECRET_ACCESS_KEY=SECRET))
    assert (config.access_key_id, config.secret_access_key) == ("id", SECRET)


def test_two_topics_may_not_share_a_name() -> None:
    (line,) = problems(TOPIC_LATE="posts.dead")
    assert "topic" in line


def test_the_address_of_s3_has_a_hint_for_credentials_and_others_do_not() -> None:
    hint = "EMOSTREAM_S3_ACCESS_KEY_ID"
    assert hint in problems(S3_ENDPOINT="http://ann:secret@127.0.0.1:9000")[0]
    assert "contains credentials; it must have none" in problems(API_URL="http://ann:secret@127.0.0.1:8000")[0]
