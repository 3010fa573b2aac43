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
from models.package.folder import bundled_package_path
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_postgres, init_topics
from streams.records import Post
from streams.settings import Settings, load_settings
from tests.doc_pages import python_snippets
from tests.integration.api_support import address_of
from tests.integration.support import TIMEOUT_S, records
from tests.integration.test_sink import window

# What a receiver of webhooks does is called by tests/unit/test_alert_docs.py.
SNIPPETS = {name: code for name, code in python_snippets().items() if "def is_genuine(" not in code}
ENDLESS = {name for name, code in SNIPPETS.items() if "while True:" in code}
SENDING = {name for name, code in SNIPPETS.items() if "Producer(" in code}
ASKING = {name for name, code in SNIPPETS.items() if "api.client" in code}
ADDRESS = "http://127.0.0.1:8000"
"""Where the documentation has the HTTP service."""


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


def run_to_its_end(endpoints: Endpoints, folder: Path, name: str, *, service: str = ADDRESS) -> tuple[str, str]:
    """What a snippet prints, to stdout and to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", SNIPPETS[name].replace(ADDRESS, service)],
        cwd=folder,
        env=clean_environment(endpoints.as_env()),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_there_are_snippets_of_every_kind() -> None:
    assert ENDLESS
    assert SENDING
    assert ASKING
    assert SNIPPETS.keys() - ENDLESS - SENDING - ASKING


@pytest.mark.parametrize("name", sorted(SNIPPETS.keys() - ENDLESS - SENDING - ASKING))
def test_it_comes_to_its_end(endpoints: Endpoints, folder: Path, name: str) -> None:
    printed, complaints = run_to_its_end(endpoints, folder, name)
    assert complaints == ""
    assert process.find_marked(folder / ".emostream") == {}, "it says that it stops what it starts"
    # Which servers it has started it prints first.
    assert printed.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(SENDING))
def test_it_sends_posts(endpoints: Endpoints, settings: Settings, folder: Path, name: str) -> None:
    # The client may warn on stderr that it tries again.
    printed, _ = run_to_its_end(endpoints, folder, name)
    assert printed == "0 posts are not confirmed\n"
    sent = [(key, Post.from_json(value)) for _, key, value in records(settings, settings.topic_raw)]
    mine = [(key, post) for key, post in sent if post.source == "my-program"]
    assert {post.text for _, post in mine} == {"The new phone is wonderful", "The screen cracked on day one"}
    assert all(key == post.id.encode() for key, post in mine)


@pytest.mark.parametrize("name", sorted(ASKING))
def test_it_asks_the_http_service(endpoints: Endpoints, settings: Settings, folder: Path, name: str) -> None:
    init_postgres(settings, lambda line: None)
    environment = {
        **endpoints.as_env(),
        "EMOSTREAM_API_PORT": "0",
        "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
    }
    with Role("api", ["api"], env=clean_environment(environment), log=folder / "api.log") as service:
        printed, complaints = run_to_its_end(endpoints, folder, name, service=address_of(service))
    assert complaints == ""
    keyword, label = printed.splitlines()
    assert keyword.startswith("rain ")
    assert label == "love"


@pytest.mark.parametrize("name", sorted(ENDLESS))
def test_it_prints_the_windows_that_come(
    endpoints: Endpoints, settings: Settings, producer: ConfirmedProducer, folder: Path, name: str
) -> None:
    """And passes over those without a post, which `emostream windows rebuild` may leave."""
    empty = replace(window(1, {"joy": 1}), count=0, labels={}, sentiment=None)
    windows = [empty, window(2, {"joy": 1, "fear": 3}), window(1, {"joy": 2}, keyword="rain")]
    producer.submit([Outgoing(settings.topic_windows, one.to_json(), one.key.encode(), 0) for one in windows]).result(
        TIMEOUT_S
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
        "2026-03-01T12:00:00.000Z 60 s coffee 4 fear 75%\n",
        "2026-03-01T12:00:00.000Z 60 s rain 2 joy 100%\n",
    ]
