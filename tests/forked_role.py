"""Runs `emostream ingest` in processes that start within milliseconds, for a test that kills it many times.

They are forked from a process that has imported everything and has no threads. `Role` starts the real command, which
takes a second or two.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from streams.errors import USER_ERRORS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "streams.ingest.sources.run",
        *(f"connectors.sources.{kind}" for kind in ("bluesky", "hackernews", "mastodon", "reddit", "rss", "x")),
    ]
)


class ForkedIngest:
    """A process that runs the sources of a file."""

    def __init__(self, config: Path, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._process: BaseProcess = _CONTEXT.Process(target=_ingest, args=(config, dict(env), log), daemon=True)
        self._process.start()

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


def _ingest(config: Path, env: Mapping[str, str], log: Path) -> None:
    from streams.ingest.sources.config import read_config
    from streams.ingest.sources.kinds import option_names
    from streams.ingest.sources.run import run_sources
    from streams.settings import load_settings

    os.environ.update(env)  # credentials
    logging.basicConfig(filename=log, level="INFO", format="%(asctime)s %(process)d %(message)s", force=True)
    try:
        run_sources(load_settings(env_file=None, environ=env), list(read_config(config, option_names()).values()))
    except USER_ERRORS as exc:
        logging.getLogger(__name__).error("%s", exc)
        sys.exit(1)
