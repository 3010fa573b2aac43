"""The ports of the processes of the HTTP service."""

from __future__ import annotations

import pytest

from streams.errors import SettingsError
from streams.process.api_processes import child_commands
from tests.settings_support import load


def test_each_process_has_a_port_of_its_own_for_metrics_or_none_has_one() -> None:
    commands = child_commands(load(API_METRICS_PORT="6070"), 2)
    assert [command[command.index("--metrics-port") + 1] for command in commands.values()] == ["6070", "6071"]
    commands = child_commands(load(), 2)
    assert [command[command.index("--metrics-port") + 1] for command in commands.values()] == ["0", "0"]


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("65535", "EMOSTREAM_API_METRICS_PORT: 2 processes from 65535 on"),
        ("7999", "EMOSTREAM_API_METRICS_PORT=7999: 2 processes would need EMOSTREAM_API_PORT=8000, too"),
    ],
)
def test_ports_that_do_not_exist_or_are_the_services_are_refused(first: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        child_commands(load(API_METRICS_PORT=first), 2)
