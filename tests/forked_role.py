"""Runs `emostream ingest` and `alerts run` in processes that start within milliseconds, for tests that kill them.

They are forked from a process that has imported everything and has no threads. `Role` starts the real command, which
takes a second or two.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from streams.errors import USER_ERRORS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "streams.alerts.run",
        "streams.ingest.sources.run",
        *(f"connectors.sources.{kind}" for kind in ("bluesky", "hackernews", "mastodon", "reddit", "rss", "x")),
    ]
)


class ForkedRole:
    """A process that runs a role until it is stopped or killed."""

    def __init__(self, target: Callable[..., None], arguments: tuple[object, ...], log: Path) -> None:
        self.log = log
        self._process: BaseProcess = _CONTEXT.Process(target=target, args=(*arguments, log), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def check(self) -> None:
        assert self._process.exitcode is None, self.log.read_text("utf-8")

    def stop(self) -> int | None:
        """Stop the process with SIGTERM, and return its exit code."""
        self._process.terminate()
        self._process.join(60)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait until it has ended."""
        self._process.kill()
        self._process.join()
        self._process.close()


class ForkedIngest(ForkedRole):
    """A process that runs the sources of a file."""

    def __init__(self, config: Path, env: Mapping[str, str], log: Path) -> None:
        super().__init__(_ingest, (config, dict(env)), log)


class ForkedAlerts(ForkedRole):
    """A process that runs `emostream alerts run`."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        super().__init__(_alerts, (dict(env),), log)


def _alerts(env: Mapping[str, str], log: Path) -> None:
    from streams.alerts.run import run_alerts
    from streams.settings import load_settings

    _run(lambda: run_alerts(load_settings(env_file=None, environ=env)), env, log)


def _ingest(config: Path, env: Mapping[str, str], log: Path) -> None:
    from streams.ingest.sources.config import read_config
    from streams.ingest.sources.kinds import option_names
    from streams.ingest.sources.run import run_sources
    from streams.settings import load_settings

    specs = list(read_config(config, option_names()).values())
    _run(lambda: run_sources(load_settings(env_file=None, environ=env), specs), env, log)


def _run(role: Callable[[], None], env: Mapping[str, str], log: Path) -> None:
    os.environ.update(env)  # credentials
    logging.basicConfig(filename=log, level="INFO", format="%(asctime)s %(process)d %(message)s", force=True)
    try:
        role()
    except USER_ERRORS as exc:
        logging.getLogger(__name__).error("%s", exc)
        sys.exit(1)
