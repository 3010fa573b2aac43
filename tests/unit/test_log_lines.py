"""A record of the log is one line; only defects have stack traces."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from connectors.errors import RejectedError
from streams.cli.common import log_to_stderr


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Leaves the root logger as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def log_crash(error: Exception) -> None:
    try:
        raise error
    except type(error):
        logging.getLogger("streams.test").error("crashed: %r", error, exc_info=sys.exc_info())


@pytest.mark.parametrize(("level", "traces"), [("INFO", 1), ("DEBUG", 2)])
def test_a_user_s_error_has_no_stack_trace(level: str, traces: int, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(level)
    log_crash(RejectedError("Kafka refused while writing"))
    log_crash(KeyError("a defect"))
    written = capsys.readouterr().err
    assert "crashed: RejectedError('Kafka refused while writing')" in written
    assert written.count("Traceback (most recent call last)") == traces
    assert "KeyError: 'a defect'" in written


def test_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("INFO")
    logging.getLogger("streams.test").info("reading %s", "a\nb \x1b[31m.csv")
    assert capsys.readouterr().err.endswith("reading a\\nb \\x1b[31m.csv\n")
