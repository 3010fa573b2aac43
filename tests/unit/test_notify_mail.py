"""E-mail over a real SMTP server: encryption, logins, refusals, threads, and headers that nobody can add to."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from connectors.notify.mail import Mail
from connectors.notify.outcome import Delivered, Refused, TryAgain
from tests.unit.receivers import MailBox, certificate, mail_server, password_is
from tests.unit.test_notify_http import MESSAGE

LETTER = replace(
    MESSAGE,
    subject="[emostream] warning: \u2068café\u2069",
    text="\u2068für Post\u2069\n",
    html='<p>x</p><img src="cid:chart">',
)
PASSWORD = "a very secret password"


def mail(port: int, **options: object) -> Mail:
    fields = {"tls": "none", "to": ("one@example.com", "two@example.com"), "timeout_s": 60.0, **options}
    return Mail(host="127.0.0.1", port=port, sender="emostream@example.com", **fields)  # type: ignore[arg-type]


def only_mail(box: MailBox) -> EmailMessage:
    [envelope] = box.mails
    content = envelope.content
    assert isinstance(content, bytes)
    found = message_from_bytes(content, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_a_mail_has_text_html_and_the_picture() -> None:
    box = MailBox()
    with mail_server(box) as port:
        assert mail(port).send(LETTER) == Delivered(f"127.0.0.1:{port} took the mail")
    found = only_mail(box)
    assert box.mails[0].mail_from == "emostream@example.com"
    assert box.mails[0].rcpt_tos == ["one@example.com", "two@example.com"]
    assert found["Subject"] == LETTER.subject
    assert found["To"] == "one@example.com, two@example.com"
    assert found["Auto-Submitted"] == "auto-generated"
    plain, html = found.get_body(("plain",)), found.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == LETTER.text.splitlines()
    assert html.get_content().strip() == LETTER.html
    [picture] = [part for part in found.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == "<chart>"
    assert picture.get_content() == LETTER.picture


def test_a_repeat_has_the_same_id_and_the_end_is_in_the_thread_of_the_begin() -> None:
    begin = mail(1).written(LETTER)
    assert begin["Message-ID"] == mail(1).written(LETTER)["Message-ID"]
    end = mail(1).written(replace(LETTER, key="rule|coffee|60|x/closed", reply_to=LETTER.key))
    assert end["Message-ID"] != begin["Message-ID"]
    assert end["In-Reply-To"] == end["References"] == begin["Message-ID"]


def test_a_subject_cannot_add_a_header() -> None:
    with pytest.raises(ValueError, match="linefeed"):
        mail(1).written(replace(LETTER, subject="x\r\nBcc: eve@example.com"))


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_login_over_an_encrypted_connection(tmp_path: Path, tls: str) -> None:
    context, pem = certificate(tmp_path)
    box = MailBox()
    options: dict[str, object] = {"authenticator": password_is(PASSWORD.encode())}
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    else:
        options |= {"ssl_context": context, "auth_require_tls": False}  # it does not see the encryption
    with mail_server(box, **options) as port:
        right = mail(port, tls=tls, ca_file=str(pem), user="me", password=PASSWORD)
        assert isinstance(right.send(LETTER), Delivered)
        wrong = replace(right, password="wrong").send(LETTER)
        assert isinstance(wrong, Refused)
        assert "answered 535" in wrong.reason
        stranger = replace(right, ca_file=None).send(LETTER)
        assert isinstance(stranger, TryAgain)
        assert "certificate" in stranger.reason
    assert len(box.mails) == 1
    assert PASSWORD not in repr(right)


def test_a_server_without_encryption_gets_no_mail() -> None:
    box = MailBox()
    with mail_server(box) as port:
        outcome = mail(port, tls="starttls", user="me", password=PASSWORD).send(LETTER)
    assert isinstance(outcome, Refused)
    assert "STARTTLS" in outcome.reason
    assert box.mails == []


def test_a_mail_that_cannot_be_taken_now_is_sent_again_and_a_refused_one_is_not() -> None:
    box = MailBox()
    box.answers = ["451 later", "554 spam"]
    with mail_server(box) as port:
        outcomes = [mail(port).send(LETTER) for _ in range(3)]
    assert outcomes[0] == TryAgain(f"127.0.0.1:{port} answered 451: later")
    assert outcomes[1] == Refused(f"127.0.0.1:{port} answered 554: spam")
    assert isinstance(outcomes[2], Delivered)


def test_refused_recipients() -> None:
    box = MailBox()
    box.refused = {"one@example.com": "550 who?"}
    with mail_server(box) as port:
        assert mail(port).send(LETTER) == Delivered(f"127.0.0.1:{port} took the mail for 1 of 2 recipients")
        box.refused["two@example.com"] = "450 busy"
        assert isinstance(mail(port).send(LETTER), TryAgain)
        box.refused["two@example.com"] = "550 who?"
        assert mail(port).send(LETTER) == Refused(f"127.0.0.1:{port} takes no recipient: who?")


@contextmanager
def silent_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_says_nothing_or_is_not_there() -> None:
    with silent_server() as port:
        outcome = mail(port, timeout_s=0.3).send(LETTER)
        assert isinstance(outcome, TryAgain)
        assert "timed out" in outcome.reason
    outcome = mail(port).send(LETTER)
    assert isinstance(outcome, TryAgain)
    assert "cannot be reached" in outcome.reason


def test_every_error_of_the_library_has_an_outcome() -> None:
    errors = [smtplib.SMTPServerDisconnected("gone"), smtplib.SMTPHeloError(500, b"no"), smtplib.SMTPException("odd")]
    kinds = [type(mail(1)._failure(error)) for error in errors]
    assert kinds == [TryAgain, Refused, TryAgain]


def test_a_password_that_is_not_ascii_is_refused_and_not_shown() -> None:
    box = MailBox()
    options = {"auth_require_tls": False, "authenticator": password_is(b"x")}
    with mail_server(box, **options) as port:
        outcome = mail(port, user="me", password="geheimnüß").send(LETTER)
    assert isinstance(outcome, Refused)
    assert "not ASCII" in outcome.reason
    assert "ü" not in outcome.reason
