"""Secrets are masked in text and in log records, stack traces included."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from streams import redact as module
from streams.redact import RedactingFilter, redact, remember_secrets


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_secrets", set())


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


logger = logging.getLogger("test_redacting_filter")
logger.propagate = False


def test_nothing_is_masked_before_a_secret_is_known() -> None:
    assert redact("hunter") == "hunter"


def test_an_empty_secret_masks_nothing() -> None:
    remember_secrets([""])
    assert redact("hunter") == "hunter"


def test_a_secret_that_contains_another_is_masked_completely() -> None:
    remember_secrets(["hunter", "hunter-two", "two"])
    assert redact("a hunter-two, a hunter, two") == "a ***, a ***, ***"


def test_message_and_arguments_are_masked(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    logger.warning("hunter %s %d", ["x", "hunter"], 3)
    assert output.getvalue() == "*** ['x', '***'] 3\n"


def test_arguments_by_name_are_masked(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    logger.warning("%(a)s 100%%", {"a": "hunter"})
    assert output.getvalue() == "*** 100%\n"


def test_a_percent_sign_in_a_masked_argument_is_printed_as_it_is(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    logger.warning("%s", "hunter%40 %s")
    assert output.getvalue() == "***%40 %s\n"


def fail() -> None:
    try:
        raise ValueError("inner hunter")
    except ValueError as exc:
        raise RuntimeError("outer hunter") from exc


def test_stack_traces_and_those_of_their_causes_are_masked(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    try:
        fail()
    except RuntimeError:
        logger.exception("failed")
    text = output.getvalue()
    assert "hunter" not in text
    assert "ValueError: inner ***" in text
    assert "RuntimeError: outer ***" in text


def test_a_stack_trace_that_another_handler_has_formatted_is_masked_too(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    first = logging.StreamHandler(io.StringIO())
    logger.handlers.insert(0, first)
    try:
        fail()
    except RuntimeError:
        logger.exception("failed")
    finally:
        logger.removeHandler(first)
    assert "hunter" not in output.getvalue()


def test_stack_info_is_masked(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    logger.warning("printed", stack_info=True)  # hunter: this line is part of the stack info
    assert "hunter" not in output.getvalue()
    assert "printed" in output.getvalue()


def test_a_malformed_log_call_neither_raises_nor_shows_a_secret(output: io.StringIO) -> None:
    remember_secrets(["hunter"])
    logger.warning("%d posts", "hunter")
    assert "posts" in output.getvalue()
    assert "hunter" not in output.getvalue()
