"""The Python in the documentation runs, against real servers, and does what the page says.

A snippet that goes on for ever is fed and read until it has printed what it should, and then ended. Any other must come
to its end by itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.local import Endpoints, LocalStack, process
from streams.ops.demo.processes import clean_environment
from streams.ops.init import init_topics
from streams.settings import Settings, load_settings
from tests.doc_pages import python_snippets
from tests.integration.support import PATIENCE_S
from tests.integration.test_sink import window

SNIPPETS = python_snippets()
ENDLESS = {name for name, code in SNIPPETS.items() if "while True:" in code}


@pytest.fixture
def settings(endpoints: Endpoints) -> Settings:
    """As a reader has them: the topics have the names of the documentation."""
    found = load_settings(env_file=None, environ=endpoints.as_env())
    init_topics(found, lambda line: None)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a snippet runs. Servers that it leaves behind are stopped."""
    yield tmp_path
    LocalStack(tmp_path / ".emostream").down()


def test_there_are_snippets_of_both_kinds() -> None:
    assert ENDLESS
    assert SNIPPETS.keys() - ENDLESS


@pytest.mark.parametrize("name", sorted(SNIPPETS.keys() - ENDLESS))
def test_it_comes_to_its_end(endpoints: Endpoints, folder: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SNIPPETS[name]],
        cwd=folder,
        env=clean_environment(endpoints.as_env()),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert process.find_marked(folder / ".emostream") == {}, "it says that it stops what it starts"
    # Which servers it has started it prints first.
    assert done.stdout.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(ENDLESS))
def test_it_prints_the_windows_that_come(
    endpoints: Endpoints, settings: Settings, producer: ConfirmedProducer, folder: Path, name: str
) -> None:
    """And passes over those without a post, which `emostream windows rebuild` may leave."""
    empty = replace(window(1, {"joy": 1}), count=0, labels={}, sentiment=None)
    windows = [empty, window(2, {"joy": 1, "fear": 3}), window(1, {"joy": 2}, keyword="rain")]
    producer.submit([Outgoing(settings.topic_windows, one.to_json(), one.key.encode(), 0) for one in windows]).result(
        PATIENCE_S
    )
    command = [sys.executable, "-u", "-c", SNIPPETS[name]]
    environment = clean_environment(endpoints.as_env())
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            printed = [running.stdout.readline() for _ in range(2)]
            assert all(printed), running.stderr.read()
            assert running.poll() is None, "it goes on"
        finally:
            running.kill()
    assert printed == [
        "2026-03-01T12:00:00.000Z coffee 4 fear 75% False\n",
        "2026-03-01T12:00:00.000Z rain 2 joy 100% False\n",
    ]
