"""No text, error or cause of an error shows a secret of the settings, and every secret is listed for masking."""

from __future__ import annotations

import pickle

import pytest

from streams.connections import kafka_config, s3_config
from streams.errors import SettingsError
from streams.settings import Settings
from tests.settings_support import SASL, SECRET, load

WITH_SECRETS = {
    **SASL,
    "KAFKA_SASL_PASSWORD": "sasl-hunter",
    "KAFKA_SSL_KEY_PASSWORD": "key-hunter",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "s3-hunter",
    "AUTHOR_KEY": "author-hunter-key",
    "AUTHOR_FORMER_KEY": "former-hunter-key",
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
        "author-hunter-key",
        "former-hunter-key",
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
