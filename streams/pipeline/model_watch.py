"""The service that polls the channel of one model of a worker, and replaces the model when the channel moves."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from mode import Service

from models.serving.watch import ChannelWatch, Polled


class ModelWatch(Service):  # type: ignore[misc] # mode ships no types
    """Runs a `ChannelWatch`. Stops the app if a poll raises an unexpected error."""

    mundane_level = "debug"  # of mode's lines about starting and stopping

    def __init__(self, app: faust.App, model: Polled, poll_s: float, **kwargs: Any) -> None:  # noqa: ANN401 - mode's
        """Create the service. `model` must be started; `poll_s` is the time between two polls, in seconds."""
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
