"""Makes the sender of a channel. Senders that block run in a thread, with a time limit for the whole message."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import SecretStr

from connectors.notify.http import Slack, Webhook
from connectors.notify.mail import PORTS, Mail
from connectors.notify.message import Message
from connectors.notify.outcome import Delivered, Outcome, TryAgain
from connectors.notify.services import Service
from streams.alerts.delivery.channels import AppriseChannel, Channel, EmailChannel, SlackChannel, WebhookChannel
from streams.process.background import in_background
from streams.redact import redact


class Sender(Protocol):
    """Sends messages to one channel. Masks the secrets in what it returns."""

    async def send(self, message: Message, /) -> Outcome:
        """Send a message once."""


class _Blocking(Protocol):
    def send(self, message: Message, /) -> Outcome: ...


class _NotBlocking(Protocol):
    async def send(self, message: Message, /) -> Outcome: ...


@dataclass(frozen=True)
class _Masking:
    sender: _NotBlocking

    async def send(self, message: Message) -> Outcome:
        outcome = await self.sender.send(message)
        if isinstance(outcome, Delivered):
            return Delivered(redact(outcome.answer))
        return replace(outcome, reason=redact(outcome.reason))


class _InThread:
    """Sends in a thread, one message at a time. A message that takes too long is left to its thread."""

    def __init__(self, sender: _Blocking, within_s: float) -> None:
        self._sender = sender
        self._within_s = within_s
        self._running: Future[Outcome] | None = None

    async def send(self, message: Message) -> Outcome:
        if self._running is not None and not self._running.done():
            return TryAgain("the message before this one is still being sent")
        self._running = in_background(lambda: self._sender.send(message), name="alert-sender")
        # The limit of the sender is for each step of the protocol, and this one for all.
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._running)), self._within_s)
        except TimeoutError:
            return TryAgain(f"the message was not accepted within {self._within_s:g} s")


def sender_of(channel: Channel) -> Sender:
    """Returns the sender of a channel. `streams.redact` must know the channel's secrets."""
    within_s = channel.timeout_s
    if isinstance(channel, WebhookChannel):
        webhook = Webhook(
            url=channel.url.get_secret_value(),
            secret=None if channel.secret is None else channel.secret.get_secret_value().encode(),
            headers={name: value.get_secret_value() for name, value in channel.headers.items()},
            picture=channel.picture,
            timeout_s=within_s,
        )
        return _Masking(webhook)
    if isinstance(channel, SlackChannel):
        return _Masking(Slack(url=channel.url.get_secret_value(), timeout_s=within_s))
    if isinstance(channel, AppriseChannel):
        service = Service(url=channel.url.get_secret_value(), picture=channel.picture, timeout_s=within_s)
        return _Masking(_InThread(service, 2 * within_s))
    return _Masking(_InThread(_mail(channel), 4 * within_s))


def _mail(channel: EmailChannel) -> Mail:
    return Mail(
        host=channel.host,
        port=channel.port or PORTS[channel.tls],
        sender=channel.sender,
        to=channel.to,
        tls=channel.tls,
        user=_revealed(channel.user),
        password=_revealed(channel.password),
        ca_file=None if channel.ca_file is None else os.fspath(channel.ca_file),
        picture=channel.picture,
        timeout_s=channel.timeout_s,
    )


def _revealed(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
