"""`emostream alerts channels` and `emostream alerts test` say what there is, and what a receiver answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.cli import main
from tests.unit.receivers import Answer, HttpReceiver, http_receiver

Run = Callable[..., tuple[int, str, str]]
SECRET = "very-secret-token"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


@pytest.fixture
def run(
    tmp_path: Path, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    path = tmp_path / "channels.toml"
    path.write_text(
        f'[channels.chat]\ntype = "slack"\nurl = "{receiver.url}/services/{SECRET}"\n'
        f'[channels.hook]\ntype = "webhook"\nurl = "{receiver.url}/{SECRET}"\npicture = true\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOSTREAM_ALERT_CHANNELS", str(path))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["alerts", *arguments])
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        return int(ended.value.code or 0), out, err

    return call


def test_the_channels_are_listed_without_their_secrets(run: Run) -> None:
    code, out, _ = run("channels")
    assert (code, [line.split() for line in out.splitlines()]) == (
        0, [["name", "type"], ["chat", "slack"], ["hook", "webhook"]],
    )  # fmt: skip
    assert json.loads(run("channels", "--json")[1]) == {
        "channels": [{"name": "chat", "type": "slack"}, {"name": "hook", "type": "webhook"}]
    }


def test_without_a_file_there_are_no_channels(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_ALERT_CHANNELS", "")
    assert run("channels")[::2] == (0, "there are no channels; EMOSTREAM_ALERT_CHANNELS names their file\n")
    code, _, err = run("test", "chat")
    assert (code, "EMOSTREAM_ALERT_CHANNELS" in err) == (1, True)


def test_a_test_message_says_that_it_is_one(run: Run, receiver: HttpReceiver) -> None:
    code, out, _ = run("test", "chat")
    assert (code, out) == (0, f"delivered to chat: 127.0.0.1:{receiver.port} answered 200: ok\n")
    assert "This is a test of the channel chat" in json.loads(receiver.received[0].body)["text"]
    assert run("test", "hook")[0] == 0
    sent = json.loads(receiver.received[1].body)
    assert sent["picture"].startswith("iVBOR")
    assert sent["channels"] == ["hook"]


def test_a_receiver_that_does_not_accept_it_is_an_error(run: Run, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(404, body=f"no /{SECRET} here\x1b[31m".encode()), Answer(429, {"Retry-After": "5"})]
    code, out, err = run("test", "chat")
    assert (code, out) == (1, "")
    assert err == (
        f"emostream: error: chat: refused for good: 127.0.0.1:{receiver.port} answered 404: no /*** here [31m\n"
    )
    code, out, err = run("test", "hook", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out) == {
        "channel": "hook", "type": "webhook", "result": "try again", "retry_after_s": 5.0,
        "reason": f"127.0.0.1:{receiver.port} answered 429: ok",
    }  # fmt: skip


def test_unknown_channels_and_wrong_files_are_told(run: Run, tmp_path: Path) -> None:
    code, _, err = run("test", "nobody")
    assert (code, err) == (1, "emostream: error: there is no channel 'nobody'; there are chat, hook\n")
    (tmp_path / "channels.toml").write_text(f'[channels.chat]\ntype = "slack"\nurl = "http://example.com/{SECRET}"\n')
    code, _, err = run("channels")
    assert code == 1
    assert err.endswith(
        "channels.toml:3: [channels.chat] url: http:// only to this machine, unless allow_http = true\n"
    )
