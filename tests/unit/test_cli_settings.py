from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from streams.cli.settings import settings
from streams.ops.settings_list import format_value
from streams.setting_types import Address
from streams.settings import Settings


def run(*arguments: str) -> str:
    result = CliRunner().invoke(settings, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("EMOSTREAM_REDIS_URL", "rediss://user:hunter-one@host:6380/0")
    monkeypatch.setenv("EMOSTREAM_POSTGRES_DSN", "postgresql://u@h/db?password=hunter-two&sslmode=require")
    monkeypatch.setenv("EMOSTREAM_S3_ACCESS_KEY_ID", "key-id")
    monkeypatch.setenv("EMOSTREAM_S3_SECRET_ACCESS_KEY", "hunter-three")
    return ["hunter-one", "hunter-two", "hunter-three"]


@pytest.mark.parametrize("option", ["--json", "--markdown", None])
def test_every_setting_is_listed_and_no_secret_is_shown(option: str | None, secrets: list[str]) -> None:
    output = run(option) if option else run()
    for name in Settings.model_fields:
        assert f"EMOSTREAM_{name.upper()}" in output
    assert not any(secret in output for secret in secrets)


@pytest.mark.usefixtures("secrets")
def test_json_has_value_and_default() -> None:
    entries = {entry["name"]: entry for entry in json.loads(run("--json"))}
    assert entries["EMOSTREAM_REDIS_URL"]["value"] == "rediss://user:***@host:6380/0"
    assert entries["EMOSTREAM_REDIS_URL"]["default"] == "redis://127.0.0.1:6379/0"
    assert entries["EMOSTREAM_S3_SECRET_ACCESS_KEY"]["value"] == "***"
    assert entries["EMOSTREAM_WINDOW_SIZES"]["value"] == "1m:2d,5m:7d,1h:30d,1d:400d"


def test_markdown_works_with_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_WEB_PORT", "no port")
    assert "| `EMOSTREAM_WEB_PORT` | `6066` |" in run("--markdown")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p@h:1/0", "redis://:***@h:1/0"),
        ("postgresql://u:p%40:x@h/d?sslpassword=q&a=b", "postgresql://u:***@h/d?sslpassword=***&a=b"),
        (
            "postgresql://u:p,q@h1:1,h2:2/d?sslmode=require&p%61ssword=a#b",
            "postgresql://u:***@h1:1,h2:2/d?sslmode=require&p%61ssword=***",
        ),
        ("rediss://u@h?password=a&x=a", "rediss://u@h?password=***&x=a"),
    ],
)
def test_addresses_are_masked(address: str, expected: str) -> None:
    assert format_value(Address(address)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "true"),
        ((60, 300), "60,300"),
        (SecretStr("x"), "***"),
        (SecretStr("hunter://two"), "***"),
        (SecretStr(""), ""),
        (1.5, "1.5"),
    ],
)
def test_values_are_shown_as_they_are_written_in_the_environment(value: object, expected: str) -> None:
    assert format_value(value) == expected
