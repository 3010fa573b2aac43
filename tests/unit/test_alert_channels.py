"""The channels file: what it may say, where secrets come from, and errors that name the line and not the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.notify.outcome import TryAgain
from streams.alerts.delivery.channels import (
    AppriseChannel,
    EmailChannel,
    SlackChannel,
    WebhookChannel,
    read_channels,
    secrets_of,
)
from streams.alerts.delivery.senders import _InThread, sender_of
from streams.errors import SettingsError
from streams.redact import redact, remember_secrets
from tests.unit.receivers import Answer, http_receiver
from tests.unit.test_notify_http import MESSAGE

GOOD = """
[channels.hook]
type = "webhook"
url = "https://example.com/hooks/token-of-the-hook"
secret = "env:HOOK_SECRET"
headers = { Authorization = "file:auth.txt", "X-Team" = "moods" }
picture = true

[channels.chat]
type = "slack"
url = "http://127.0.0.1:9/services/token-of-the-chat"

[channels.mail]
type = "email"
host = "mail.example.com"
user = "user-of-the-mail"
password = "password-of-the-mail"
from = "emostream@example.com"
to = ["one@example.com", "two@example.com"]

[channels.phone]
type = "apprise"
url = "ntfys://token-of-the-topic"
timeout_s = 5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "channels.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_channels(written(folder, text), {})
    lines = caught.value.problems
    assert not [line for line in lines if "very-secret" in line], lines
    return [line.removeprefix(f"{folder}/channels.toml:") for line in lines]


def test_each_type_of_channel(tmp_path: Path) -> None:
    (tmp_path / "auth.txt").write_text("Bearer bearer-of-the-hook\n")
    channels = read_channels(written(tmp_path, GOOD), {"HOOK_SECRET": "secret-of-the-hook"})
    assert [type(channel) for channel in channels.values()] == [
        WebhookChannel, SlackChannel, EmailChannel, AppriseChannel,
    ]  # fmt: skip
    hook = channels["hook"]
    assert isinstance(hook, WebhookChannel)
    assert hook.secret is not None
    assert hook.secret.get_secret_value() == "secret-of-the-hook"
    assert hook.headers["Authorization"].get_secret_value() == "Bearer bearer-of-the-hook"
    assert not [word for word in ("-of-the-", "moods") if word in repr(channels)]


def test_all_forms_of_the_secrets_are_masked(tmp_path: Path) -> None:
    (tmp_path / "auth.txt").write_text("Bearer bearer-of-the-hook")
    channels = read_channels(written(tmp_path, GOOD), {"HOOK_SECRET": "secret-of-the-hook"})
    remember_secrets(secrets_of(channels))
    said = redact(
        "POST https://example.com/hooks/token-of-the-hook, token-of-the-hook, services/token-of-the-chat, "
        "ntfys://token-of-the-topic token-of-the-topic secret-of-the-hook Bearer bearer-of-the-hook "
        "user-of-the-mail password-of-the-mail https://example.com:443/hooks/token-of-the-hook"
    )
    assert "-of-the-" not in said
    assert redact("mail.example.com 127.0.0.1:9 example.com") == "mail.example.com 127.0.0.1:9 example.com"


def test_no_file_is_no_channels() -> None:
    assert read_channels(None) == {}


def test_every_problem_is_told_with_its_line_and_without_its_value(tmp_path: Path) -> None:
    text = """[channels.hook]
type = "webhook"
url = "https://example.com/very-secret"
secret = "very-secret"
tmeout_s = 3

[channels.chat]
type = "slack"
url = "http://example.com/very-secret"

[channels.mail]
type = "email"
host = "mail.example.com"
port = "very-secret"
from = "very-secret"
to = ["a@example.com", "very-secret\\r\\nBcc: eve@example.com"]
password = "env:NOT_SET"

[channels.BAD]
type = "slack"

[channels.odd]
type = "very-secret"

[channels.phone]
type = "apprise"
url = "nothing://very-secret"

[channels.plain]
type = "apprise"
url = "json://example.com/very-secret"

[channels.open]
type = "email"
host = "mail.example.com"
tls = "none"
from = "a@example.com"
to = ["a@example.com"]
"""
    assert problems(tmp_path, text) == [
        "4: [channels.hook] secret: has fewer than 16 characters; make a key with `openssl rand -hex 32`",
        "5: [channels.hook] tmeout_s: is not known",
        "9: [channels.chat] url: http:// only to this machine, unless allow_http = true",
        "17: [channels.mail] password: the environment variable NOT_SET is not set",
        "19: [channels.BAD] the name has lower-case letters, digits, '_' and '-', at most 63",
        "23: [channels.odd] type: must be one of webhook, slack, email, apprise",
        "27: [channels.phone] url: apprise does not know this kind of address, or it is incomplete",
        "31: [channels.plain] url: without encryption only to this machine, unless allow_http = true",
        "36: [channels.open] tls: without encryption only to this machine, unless allow_plain = true",
    ]
    assert problems(tmp_path, text.replace('password = "env:NOT_SET"\n', ""))[3:6] == [
        "14: [channels.mail] port: not a whole number",
        "15: [channels.mail] from: not an address of ASCII characters, such as alerts@example.com",
        "16: [channels.mail] to.1: not an address of ASCII characters, such as alerts@example.com",
    ]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('type = "webhook"', "url: is missing"),
        ('type = "webhook"\nurl = 5', "url: not a text"),
        ('type = "slack"\nurl = "ftp://example.com"', "url: not an address; give https://host[:port]/…"),
        ('type = "slack"\nurl = "https://example.com:99999999/"', "url: not an address; give https://host[:port]/…"),
        ('type = "slack"\nurl = "https://example.com/a b"', "url: not an address; give https://host[:port]/…"),
        ('type = "slack"\nurl = "file:missing.txt"', "url: cannot read missing.txt: No such file or directory"),
        ('type = "webhook"\nurl = "https://h/"\nheaders = {"Idempotency-Key" = "x"}',
         "headers: Idempotency-Key is set by emostream"),
        ('type = "webhook"\nurl = "https://h/"\nheaders = {"A B" = "x"}',
         "headers: a name has letters, digits and '-'"),
        ('type = "webhook"\nurl = "https://h/"\nheaders = {A = "x\\r\\nB: y"}',
         "headers: a value has a character that a header cannot have"),
        ('type = "slack"\nurl = "https://h/"\ntimeout_s = 61', "timeout_s: must be at most 60"),
        ('type = "email"\nhost = "a b"\nfrom = "a@b.c"\nto = ["a@b.c"]', "host: not the name or the address of a host"),
        ('type = "email"\nhost = "h"\nfrom = "a@b.c"\nto = ["a@b.c"]\nuser = "u"',
         "give both user and password, or neither"),
        ('type = "email"\nhost = "h"\nfrom = "a@b.c"\nto = ["a@b.c"]\nca_file = "/no/such"', "ca_file: no such file"),
    ],
)  # fmt: skip
def test_a_problem_of_one_channel(tmp_path: Path, table: str, problem: str) -> None:
    [line] = problems(tmp_path, f"[channels.ops]\n{table}\n")
    assert line.partition("[channels.ops] ")[2] == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[channels.ops\nurl = "very-secret"', " is not TOML: line 1 cannot be read"),
        ('[channels.ops]\nurl = "very-secret', " is not TOML: its end cannot be read"),
        ("[channels.ops]\nurl = very-secret\n", " is not TOML: line 2 cannot be read"),
        ('[other]\nurl = "very-secret"', " has tables [channels.NAME] and nothing else"),
        ("", " has tables [channels.NAME] and nothing else"),
        ('channels = "very-secret"', " has tables [channels.NAME] and nothing else"),
        ("".join(f"[channels.c{n}]\n" for n in range(51)), " has 51 channels; 50 are allowed"),
    ],
)
def test_a_file_that_is_no_channels_file(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_channels(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        read_channels(tmp_path / "binary.toml")


async def test_what_a_receiver_echoes_of_the_secrets_is_masked(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        text = f'[channels.chat]\ntype = "slack"\nurl = "{receiver.url}/services/very-secret-token"\n'
        channels = read_channels(written(tmp_path, text))
        remember_secrets(secrets_of(channels))
        receiver.answers = [
            Answer(200, body=b"got /services/very-secret-token"),
            Answer(400, body=b"very-secret-token?"),
        ]
        outcomes = [await sender_of(channels["chat"]).send(MESSAGE) for _ in range(2)]
    assert "very-secret" not in repr(outcomes)
    assert "***" in repr(outcomes[0])
    assert "***" in repr(outcomes[1])


async def test_a_sender_that_hangs_is_left_and_gets_no_second_message() -> None:
    with http_receiver() as receiver:

        class Hanging:
            def send(self, _: object) -> TryAgain:
                receiver.over.wait(300)
                return TryAgain("at last")

        sender = _InThread(Hanging(), 0.2)
        assert await sender.send(MESSAGE) == TryAgain("the message was not accepted within 0.2 s")
        assert await sender.send(MESSAGE) == TryAgain("the message before this one is still being sent")
