"""The service that keeps a worker's model up to date with its channel."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from mode import Service

from models.serving.watch import ChannelWatch, Polled


class ModelWatch(Service):  # type: ignore[misc] # mode ships no types
    """Runs a `ChannelWatch`; stops the app if a poll ends in an error that nobody foresaw."""

    def __init__(self, app: faust.App, model: Polled, poll_s: float, **kwargs: Any) -> None:  # noqa: ANN401 - mode's
        """Prepare the service.

        Args:
            app: the application.
            model: the served model, started.
            poll_s: seconds between two polls of the channel.
            kwargs: for `mode.Service`.
        """
        super().__init__(**kwargs)
        self._app = app
        self._model = model
        self._poll_s = poll_s
        self._watch: ChannelWatch | None = None

    async def on_start(self) -> None:
        """Start polling."""
        loop = asyncio.get_running_loop()

        def on_failure(exc: BaseException) -> None:
            asyncio.run_coroutine_threadsafe(self._app.crash(exc), loop)

        self._watch = ChannelWatch(self._model, self._poll_s, on_failure)
        self._watch.start()

    async def on_stop(self) -> None:
        """Stop polling."""
        if self._watch is not None:
            await asyncio.to_thread(self._watch.stop)
