"""The thread of Faust's consumer may fail without a stack trace, and so may the tasks that it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.kafka.config import KafkaConfig
from streams.pipeline import app, control_consumer
from streams.pipeline.control_consumer import quiet_left_over_tasks
from streams.pipeline.no_tables import NoTables
from tests.helpers import make_settings


async def test_the_app_reads_the_control_topic_in_such_a_thread(tmp_path: Path) -> None:
    consumer = app._faust_app(make_settings(), KafkaConfig("127.0.0.1:1"), tmp_path).consumer
    assert consumer._thread.Worker is control_consumer._Thread
    consumer._thread.thread_loop.close()


class Manager:
    """What `NoTables` uses of Faust's manager. It cannot sleep, as Faust's own one does for a second."""

    should_stop = False

    def __init__(self) -> None:
        self.done: list[str] = []
        self.recovery = SimpleNamespace(start=lambda: self._do("recovery"))

    async def _do(self, what: str) -> None:
        self.done.append(what)

    async def _update_channels(self) -> None:
        await self._do("channels")


async def test_the_app_does_not_wait_for_tables(tmp_path: Path) -> None:
    """The worker has none."""
    assert app._faust_app(make_settings(), KafkaConfig("127.0.0.1:1"), tmp_path).conf.TableManager is NoTables
    assert NoTables.logger.name == "faust.tables.manager"
    manager: Any = Manager()
    await NoTables.on_start(manager)
    assert manager.done == ["channels", "recovery"]
    manager.should_stop = True
    await NoTables.on_start(manager)
    assert manager.done == ["channels", "recovery"]


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
