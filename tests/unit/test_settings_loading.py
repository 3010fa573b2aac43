"""Settings: where they are read from, which values they accept, and that no secret of theirs is printed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from streams.connections import kafka_config, s3_config
from streams.errors import SettingsError
from streams.setting_types import Address
from streams.settings import Settings, load_settings

SECRET = "hunter-two"


def load(file: Path | None = None, /, **environ: str) -> Settings:
    return load_settings(env_file=file, environ={f"EMOSTREAM_{key}": value for key, value in environ.items()})


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    assert str(caught.value) == "; ".join(caught.value.problems)
    assert not any("\n" in problem for problem in caught.value.problems)
    return caught.value.problems


def env_file(folder: Path, *lines: str) -> Path:
    path = folder / "settings.env"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_setting_has_a_default() -> None:
    settings = load()
    assert (settings.kafka_bootstrap, settings.window_sizes[0], settings.keep_text) == (
        "127.0.0.1:9092",
        (60, 172_800),
        True,
    )


# Names


def test_a_misspelt_name_is_refused_and_the_right_one_suggested() -> None:
    assert problems(REDIS_URI="redis://h") == [
        "EMOSTREAM_REDIS_URI: unknown setting; did you mean EMOSTREAM_REDIS_URL?"
    ]


def test_an_unknown_name_that_is_like_no_setting_has_no_suggestion() -> None:
    assert problems(ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ="1") == [
        "EMOSTREAM_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ: unknown setting"
    ]


def test_an_unknown_name_is_refused_even_when_its_value_is_empty() -> None:
    assert len(problems(PARTITION="")) == 1


def test_an_unknown_name_does_not_print_its_value() -> None:
    assert SECRET not in str(problems(KAFKA_SASL_PASSWORT=SECRET))


def test_an_empty_value_in_the_environment_is_the_default_whatever_the_file_says(tmp_path: Path) -> None:
    assert load(env_file(tmp_path, "EMOSTREAM_PARTITIONS=3"), PARTITIONS="") == load()


def test_names_are_read_in_any_case() -> None:
    assert load_settings(env_file=None, environ={"emostream_partitions": "7"}).partitions == 7


@pytest.mark.parametrize("name", ["EMOSTREAM_TEST_STACK", "emostream_test_stack", "PATH", "REDIS_URL", "EMOSTREAMX"])
def test_other_names_are_ignored(name: str) -> None:
    assert load_settings(env_file=None, environ={name: "containers"}) == load()


# Sources


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = env_file(tmp_path, "EMOSTREAM_PARTITIONS=3", "EMOSTREAM_SHARDS=3")
    settings = load(file, PARTITIONS="8")
    assert (settings.partitions, settings.shards) == (8, 3)


def test_the_environment_wins_over_the_file_whatever_the_case(tmp_path: Path) -> None:
    file = env_file(tmp_path, "emostream_partitions=3")
    assert load(file, PARTITIONS="8").partitions == 8


def test_overrides_win_over_both(tmp_path: Path) -> None:
    file = env_file(tmp_path, "EMOSTREAM_PARTITIONS=3")
    assert load_settings(file, {"EMOSTREAM_PARTITIONS": "8"}, partitions=5).partitions == 5


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_PARTITIONS", "9")
    assert load_settings(env_file=None).partitions == 9


def test_a_file_that_does_not_exist_is_ignored(tmp_path: Path) -> None:
    assert load(tmp_path / "none.env") == load()


def test_the_file_may_contain_other_names(tmp_path: Path) -> None:
    file = env_file(
        tmp_path, "# for compose", "POSTGRES_PASSWORD=x", "PARTITIONS=99", "BARE", "EMOSTREAM_PARTITIONS='3'"
    )
    assert load(file).partitions == 3


def test_a_misspelt_name_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="EMOSTREAM_PARTITION: unknown setting; did you mean EMOSTREAM_PARTITIONS"):
        load(env_file(tmp_path, "EMOSTREAM_PARTITION=3"))


def test_an_empty_value_is_the_default(tmp_path: Path) -> None:
    file = env_file(tmp_path, "EMOSTREAM_KAFKA_SASL_MECHANISM=", "EMOSTREAM_SHARDS=")
    settings = load(
        file, S3_ENDPOINT="", S3_SECRET_ACCESS_KEY="", PARTITIONS="", REDIS_URL="", KAFKA_SSL_CA_LOCATION=""
    )
    assert settings == load()


# Values


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


def test_several_problems_are_reported_at_once_with_one_line_each() -> None:
    lines = problems(PARTITIONS="0", REDIS_URL="nowhere", LOG_LEVEL="LOUD", SHARD="1", WINDOW_SIZES="x,60:1h,y")
    assert sorted(line.partition(":")[0] for line in lines) == [
        "EMOSTREAM_LOG_LEVEL",
        "EMOSTREAM_PARTITIONS",
        "EMOSTREAM_REDIS_URL",
        "EMOSTREAM_SHARD",
        "EMOSTREAM_WINDOW_SIZES",
    ]


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().partitions = 5  # type: ignore[misc]


# Settings that depend on each other

SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "me",
    "KAFKA_SASL_PASSWORD": SECRET,
}


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


# Secrets

WITH_SECRETS = {
    **SASL,
    "KAFKA_SASL_PASSWORD": "sasl-hunter",
    "KAFKA_SSL_KEY_PASSWORD": "key-hunter",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "s3-hunter",
    "REDIS_URL": "rediss://user:redis%40hunter@h:6380/0",
    "POSTGRES_DSN": "postgresql://u:dsn-hunter@h/d?password=query-hunter&sslpassword=ssl-hunter",
}


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    settings = load(**WITH_SECRETS)
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hunter" not in text
    assert "hunter" not in repr(kafka_config(settings))
    assert "hunter" not in repr(s3_config(settings))


def test_every_secret_is_listed_for_masking() -> None:
    assert {
        "sasl-hunter",
        "key-hunter",
        "s3-hunter",
        "redis@hunter",
        "redis%40hunter",
        "dsn-hunter",
        "query-hunter",
        "ssl-hunter",
    } <= set(load(**WITH_SECRETS).secrets())


def test_settings_without_a_secret_list_nothing_for_masking() -> None:
    assert load().secrets() == []
    assert set(load(REDIS_URL="redis://user@h", POSTGRES_DSN="postgresql://u@h/d?sslmode=require").secrets()) == set()


@pytest.mark.parametrize("name", ["KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD"])
def test_a_password_that_looks_like_an_address_is_a_secret_too(name: str) -> None:
    assert "hunter://two" in load(**{**SASL, name: "hunter://two"}).secrets()


@pytest.mark.parametrize("written", ["hunter%2Ftwo", "hunter+two", "hunter%20two", "h%75nter"])
def test_a_password_in_a_query_is_masked_as_written_and_decoded(written: str) -> None:
    decoded = {"hunter%2Ftwo": "hunter/two", "hunter+two": "hunter+two", "hunter%20two": "hunter two"}
    secrets = load(POSTGRES_DSN=f"postgresql://u@h/d?sslmode=require&password={written}").secrets()
    assert {written, decoded.get(written, "hunter")} <= set(secrets)


def test_a_redis_password_in_a_query_is_a_secret() -> None:
    assert "hunter" in load(REDIS_URL="redis://h:6379/0?password=hunter").secrets()


@pytest.mark.parametrize(
    "broken",
    [
        {"REDIS_URL": f"redis://u:{SECRET}@h:port"},
        {"REDIS_URL": f"http://u:{SECRET}@h"},
        {"REDIS_URL": f"redis://u:{SECRET}/x@h:1"},
        {"REDIS_URL": f"redis://u:{SECRET}@[h"},
        {"POSTGRES_DSN": f"host=h password={SECRET}"},
        {"POSTGRES_DSN": f"postgresql://u:{SECRET}@/d"},
        {"S3_ENDPOINT": f"https://u:{SECRET}@h"},
        {"MODEL_URI": f"s3://id:{SECRET}@bucket/x"},
        {"KAFKA_BOOTSTRAP": f"u:{SECRET}@h:9092"},
        {"KAFKA_SASL_PASSWORD": SECRET, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
        {"KAFKA_SASL_PASSWORD": SECRET, "PARTITIONS": "0"},
        {"KAFKA_SSL_KEY_PASSWORD": SECRET, "SHARD": "0"},
    ],
)
def test_no_error_shows_a_secret(broken: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**broken)
    exc: BaseException | None = caught.value
    assert SECRET not in str(caught.value.problems)
    # A stack trace also prints the causes that are not suppressed.
    while exc is not None:
        assert SECRET not in str(exc)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def test_the_constructor_does_not_show_a_refused_value() -> None:
    with pytest.raises(ValueError, match="redis_url") as caught:
        Settings(redis_url=f"http://u:{SECRET}@h")  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_pickled_settings_keep_their_secrets() -> None:
    settings = load(**WITH_SECRETS)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_an_env_file_that_is_not_utf_8_is_an_error_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"EMOSTREAM_S3_REGION=\xff\n")
    with pytest.raises(SettingsError, match="cannot be read: it is not UTF-8"):
        load_settings(env_file=file, environ={})
