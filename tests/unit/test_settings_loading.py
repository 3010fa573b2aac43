"""Settings are read from the environment before the file, and a name that is no setting is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import load_settings
from tests.settings_support import SECRET, load, problems


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


def test_an_env_file_that_is_not_utf_8_is_an_error_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"EMOSTREAM_S3_REGION=\xff\n")
    with pytest.raises(SettingsError, match="cannot be read: it is not UTF-8"):
        load_settings(env_file=file, environ={})
