"""The thread of Faust's consumer may fail without a stack trace, and so may the tasks that it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors.kafka.config import KafkaConfig
from streams.pipeline import app, control_consumer
from streams.pipeline.control_consumer import quiet_left_over_tasks
from tests.helpers import make_settings


async def test_the_app_reads_the_control_topic_in_such_a_thread(tmp_path: Path) -> None:
    consumer = app._faust_app(make_settings(), KafkaConfig("127.0.0.1:1"), tmp_path).consumer
    assert consumer._thread.Worker is control_consumer._Thread
    consumer._thread.thread_loop.close()


def fail() -> None:
    raise asyncio.CancelledError


def test_an_error_of_the_thread_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    thread = control_consumer._Thread(SimpleNamespace(_start_thread=fail))
    thread.start()
    thread.join(60)
    assert [record.getMessage() for record in caplog.records] == [
        "the thread of Faust's consumer ended with CancelledError"
    ]
    assert caplog.records[0].exc_info is None


async def test_errors_of_left_over_tasks_are_no_more_than_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    quiet_left_over_tasks()
    asyncio.get_running_loop().call_exception_handler({"message": "Task was destroyed but it is pending!"})
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "after the stop: Task was destroyed but it is pending!")
    ]
