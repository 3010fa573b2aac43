"""Faust's own consumer, which reads the control topic: how the thread in which Faust runs it may fail.

If it is stopped while the broker is away, its thread ends with an error and leaves tasks behind. Nothing depends on it
any more then, so stack traces would only alarm. An error before the stop reaches the app, which crashes with it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from faust import App
from faust.transport.drivers import aiokafka
from mode.threads import WorkerThread

logger = logging.getLogger(__name__)

_FAUST_LOGGER = logging.getLogger("faust.transport.consumer")
"""The logger of Faust's own lines, so that its level is that of Faust. By default it is the one of this module."""


class _Thread(WorkerThread):  # type: ignore[misc] # mode ships no types
    def run(self) -> None:
        try:
            super().run()
        except BaseException as exc:  # noqa: BLE001 - this is the end of the thread, and Faust has told the app
            logger.warning("the thread of Faust's consumer ended with %s", type(exc).__name__)


class _ConsumerThread(aiokafka.AIOKafkaConsumerThread):  # type: ignore[misc]
    logger = _FAUST_LOGGER

    def _stopped_set(self) -> None:
        try:
            super()._stopped_set()
        except RuntimeError:
            # The thread has ended already, and has closed its loop.
            self._stopped.set()


class _Consumer(aiokafka.Consumer):  # type: ignore[misc] # Faust ships no types
    logger = _FAUST_LOGGER

    def _new_consumer_thread(self) -> aiokafka.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon, Worker=_Thread)


def use_control_consumer(app: App) -> None:
    """Have the app read the control topic with this module's consumer. Call it before the app starts."""
    app.transport.Consumer = _Consumer


def quiet_left_over_tasks() -> None:
    """Log the errors of tasks that are left over in the running loop, and in that of the consumer, as lines of DEBUG.

    Call it when the app is to stop, in the loop that runs it.
    """

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        logger.debug("after the stop: %s", context["message"])

    asyncio.get_running_loop().set_exception_handler(report)
    for thread in threading.enumerate():
        if isinstance(thread, _Thread):
            thread.service.thread_loop.set_exception_handler(report)
