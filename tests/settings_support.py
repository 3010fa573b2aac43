"""Helpers that tests of the settings share: loading them from variables, and the problems that loading reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import Settings, load_settings

SECRET = "hunter-two"
SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "me",
    "KAFKA_SASL_PASSWORD": SECRET,
}


def load(file: Path | None = None, /, **environ: str) -> Settings:
    return load_settings(env_file=file, environ={f"EMOSTREAM_{key}": value for key, value in environ.items()})


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    assert str(caught.value) == "; ".join(caught.value.problems)
    assert not any("\n" in problem for problem in caught.value.problems)
    return caught.value.problems
