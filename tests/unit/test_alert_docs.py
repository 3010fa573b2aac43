"""The page about channels is true: its file is read, and its receiver accepts what emostream signs and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.notify.signature import signature
from streams.alerts.delivery.channels import read_channels
from streams.alerts.delivery.retries import Retries
from tests.doc_pages import ROOT, blocks, python_snippets

PAGE = ROOT / "docs/how-to/alert-channels.md"
SECRET, BODY = b"a secret of the test", '{"incident":"café"}'.encode()


@pytest.fixture
def is_genuine() -> Callable[[bytes, bytes, str], bool]:
    [code] = [code for code in python_snippets().values() if "def is_genuine(" in code]
    assert len([line for line in code.splitlines() if line]) <= 7
    names: dict[str, Callable[[bytes, bytes, str], bool]] = {}
    exec(code, names)
    return names["is_genuine"]


def test_the_receiver_of_the_page_knows_genuine_requests(is_genuine: Callable[[bytes, bytes, str], bool]) -> None:
    now = int(time.time())
    assert is_genuine(SECRET, BODY, signature(SECRET, BODY, now))
    assert not is_genuine(SECRET, BODY + b" ", signature(SECRET, BODY, now))
    assert not is_genuine(b"another secret", BODY, signature(SECRET, BODY, now))
    assert not is_genuine(SECRET, BODY, signature(SECRET, BODY, now - 3_600))
    changed = signature(SECRET, BODY, now - 3_600).replace(f"t={now - 3_600}", f"t={now}")
    assert not is_genuine(SECRET, BODY, changed)
    for header in ("", "t=,v1=", "t=x,v1=é", "v1=" + "0" * 64):
        assert not is_genuine(SECRET, BODY, header)


def test_the_file_of_the_page_is_read(tmp_path: Path) -> None:
    [text] = blocks(PAGE.read_text("utf-8"), "toml")
    (tmp_path / "slack-url.txt").write_text("https://hooks.slack.com/services/T0/B0/x")
    (tmp_path / "smtp").write_text("a password")
    path = tmp_path / "channels.toml"
    path.write_text(text.replace("/run/secrets/smtp-password", str(tmp_path / "smtp")))
    channels = read_channels(path, {"MOODS_HOOK_SECRET": "0123456789abcdef", "MOODS_NTFY_URL": "ntfys://topic"})
    assert {name: channel.type for name, channel in channels.items()} == {
        "ops": "webhook", "chat": "slack", "mail": "email", "phone": "apprise",
    }  # fmt: skip


def test_the_times_of_the_page_are_those_of_the_code() -> None:
    retries = Retries()
    text = PAGE.read_text("utf-8")
    assert (retries.first_s, retries.most_s, retries.most_asked_s) == (5, 900, 3_600)
    assert "again after 5 seconds" in text
    assert "up to 15 minutes" in text
    assert "up to an hour" in text
