"""The consumer in `scripts/`, which knows nothing of the application, ends where Redis does."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.ops.demo.processes import Role, clean_environment
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import balanced, failures, good_posts, post, produce, wait_for
from tests.integration.test_sink import window

SCRIPT = Path(__file__).parents[2] / "scripts" / "follow_windows.py"


async def test_a_plain_consumer_agrees_with_redis(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Callable[..., Role]
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, [*good_posts(120), *(post("i am so happy", keywords=["coffee", 'tea|"☕"']) for _ in range(60))])
    assert failures(await balanced(settings, store, [worker, sink])) == []
    in_redis = {window.key: json.loads(window.to_json()) for window in await store.read()}

    def followed() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--once"],
            env=clean_environment(env),
            capture_output=True,
            text=True,
            check=True,
            timeout=180,
        )
        windows = map(json.loads, done.stdout.splitlines())
        return {f"{window['keyword']}|{window['size']}|{window['start']}": window for window in windows}

    assert len(in_redis) > 20
    wait_for(lambda: followed() == in_redis, what="the topic does not reach Redis's state")
    assert ends_early(env) == (141, b"")


def ends_early(env: dict[str, str]) -> tuple[int, bytes]:
    """Returns the exit code and the errors of the script if the reader of its output has gone, as after `head`."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as output:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--once"],
            env=clean_environment(env),
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
            timeout=180,
        )
    return done.returncode, done.stderr


def test_a_window_without_posts_is_shown_without_a_label(capsys: pytest.CaptureFixture[str]) -> None:
    show = runpy.run_path(str(SCRIPT))["show"]
    found = json.loads(window(1, {"joy": 1, "fear": 3}).to_json())
    show(found)
    show({**found, "count": 0, "labels": {}})
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[-3:] for line in shown] == [["fear", "75%", "open"], ["coffee", "0", "open"]]
