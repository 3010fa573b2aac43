"""Sends messages as e-mail over SMTP (RFC 5321). Blocking.

The library of Python sends them, because apprise says only whether a mail was sent. A mail that a server refuses for
good (a status from 500 on) must not be sent again for a day, and one that it cannot take now must be.
"""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final, Literal

from connectors.notify.message import Message
from connectors.notify.outcome import Delivered, Outcome, Refused, TryAgain, one_line

Tls = Literal["starttls", "tls", "none"]

PORTS: Final[dict[Tls, int]] = {"starttls": 587, "tls": 465, "none": 25}
"""The usual port of each way to encrypt."""

_FOR_GOOD: Final = 500
"""The first status with which an SMTP server refuses for good."""


@dataclass(frozen=True)
class Mail:
    """A mail server, and who writes to whom.

    Attributes:
        host: the server.
        port: its port.
        sender: the address of the sender.
        to: the addresses of the recipients.
        tls: how the connection is encrypted.
        user: for the login; empty for none.
        password: for the login.
        ca_file: a PEM file of the certificate authorities; None for those of the system.
        picture: whether the mail has the picture.
        timeout_s: seconds in which the server must answer each command.
    """

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    tls: Tls = "starttls"
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca_file: str | None = None
    picture: bool = True
    timeout_s: float = 15.0

    def send(self, message: Message) -> Outcome:
        """Send a message to all recipients with one mail."""
        try:
            refused = self._deliver(self.written(message))
        except (OSError, smtplib.SMTPException) as exc:
            return self._failure(exc)
        except UnicodeEncodeError:
            # Python's library has only ASCII for logins. The error itself would quote the password.
            return Refused("the user or the password has a character that is not ASCII, which a login cannot have")
        where, total = f"{self.host}:{self.port}", len(self.to)
        if refused:
            return Delivered(f"{where} took the mail for {total - len(refused)} of {total} recipients")
        return Delivered(f"{where} took the mail")

    def _deliver(self, mail: EmailMessage) -> Collection[str]:
        """Send a mail, and return the recipients that the server refused; it took at least one."""
        with self._connect() as server:
            if self.tls == "starttls":
                server.starttls(context=self._context())
            if self.user:
                server.login(self.user, self.password)
            return server.send_message(mail, self.sender, list(self.to))

    def _failure(self, exc: OSError | smtplib.SMTPException) -> Outcome:
        where = f"{self.host}:{self.port}"
        if isinstance(exc, smtplib.SMTPRecipientsRefused):
            # One that is refused for now may be taken later.
            code, said = min(exc.recipients.values())
            return _outcome_of(code, f"{where} takes no recipient", said)
        if isinstance(exc, smtplib.SMTPResponseException):
            return _outcome_of(exc.smtp_code, f"{where} answered {exc.smtp_code}", exc.smtp_error)
        if isinstance(exc, smtplib.SMTPNotSupportedError):
            return Refused(f"{where} cannot do this: {one_line(str(exc))}")
        if isinstance(exc, TimeoutError):
            return TryAgain(f"{where} did not answer within {self.timeout_s:g} s")
        return TryAgain(f"{where} cannot be reached: {one_line(str(exc)) or type(exc).__name__}")

    def _connect(self) -> smtplib.SMTP:
        if self.tls == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=self._context())
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def written(self, message: Message) -> EmailMessage:
        """Returns the mail. Its `Message-ID` follows from the message's key, so that a repeat has the same.

        Raises:
            ValueError: The subject has a line break.
        """
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"], mail["Subject"] = self.sender, ", ".join(self.to), message.subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = self._id(message.key)
        if message.reply_to:
            mail["In-Reply-To"] = mail["References"] = self._id(message.reply_to)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        if self.picture and message.picture is not None:
            _, html = mail.iter_parts()
            assert isinstance(html, EmailMessage)  # noqa: S101 - `add_alternative` has just made it
            html.add_related(message.picture, "image", "png", cid="<chart>", filename="chart.png", disposition="inline")
        return mail

    def _id(self, key: str) -> str:
        return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{self.sender.rpartition('@')[2]}>"


def _outcome_of(code: int, reason: str, said: bytes | str) -> Outcome:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    text = f"{reason}: {one_line(words)}"
    return Refused(text) if code >= _FOR_GOOD else TryAgain(text)
