"""Sends messages to webhooks: signed ones, and those that take what Slack's incoming webhooks take."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx

from connectors.notify.message import Message
from connectors.notify.outcome import Outcome, TryAgain, one_line, outcome_of_status
from connectors.notify.signature import HEADER, signature

USER_AGENT: Final = "emostream"

KEY_HEADER: Final = "Idempotency-Key"
"""The header with `Message.key`."""

MAX_ANSWER_BYTES: Final = 4_096
"""The most bytes of an answer that are read."""


@dataclass(frozen=True)
class Webhook:
    """A receiver of JSON.

    Attributes:
        url: its address, which may contain a token.
        secret: the secret of the signature; None for no signature.
        headers: further headers.
        picture: whether the body has a member `picture`: the PNG in base64.
        timeout_s: seconds in which the receiver must answer.
    """

    url: str = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    picture: bool = False
    timeout_s: float = 15.0

    async def send(self, message: Message) -> Outcome:
        """Send the record of a message, with its key and a signature in the headers."""
        body = message.body
        if self.picture and message.picture is not None:
            fields = json.loads(body) | {"picture": base64.b64encode(message.picture).decode("ascii")}
            body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {**self.headers, "Content-Type": "application/json", KEY_HEADER: message.key}
        if self.secret is not None:
            headers[HEADER] = signature(self.secret, body, int(time.time()))
        return await _post(self.url, body, headers, self.timeout_s)


@dataclass(frozen=True)
class Slack:
    """A receiver of what Slack's incoming webhooks take, such as Slack, Mattermost or Rocket.Chat.

    Attributes:
        url: its address, which contains a token.
        timeout_s: seconds in which the receiver must answer.
    """

    url: str = field(repr=False)
    timeout_s: float = 15.0

    async def send(self, message: Message) -> Outcome:
        """Send the subject and the text of a message. Links are not unfolded, and nothing is formatted."""
        text = _slack_escaped(f"{message.chat_subject}\n\n{message.chat}")
        fields = {"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        body = json.dumps(fields, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", KEY_HEADER: message.key}
        return await _post(self.url, body, headers, self.timeout_s)


def _slack_escaped(text: str) -> str:
    """Returns a text in which Slack finds no mention, link or command: its documentation names these three."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Outcome:
    host = httpx.URL(url).netloc.decode("ascii", "replace").rpartition("@")[2]
    try:
        async with asyncio.timeout(timeout_s), _client(timeout_s) as client:
            # The beginning of an answer is for a person. It is read as it comes, so that no receiver can make it grow.
            headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
            async with client.stream("POST", url, content=body, headers=headers) as answer:
                said = await _beginning(answer)
                return outcome_of_status(answer.status_code, answer.headers, said, host)
    except (TimeoutError, httpx.TimeoutException):
        return TryAgain(f"{host} did not answer within {timeout_s:g} s")
    except httpx.TransportError as exc:
        return TryAgain(f"{host} cannot be reached: {one_line(str(exc)) or type(exc).__name__}")


def _client(timeout_s: float) -> httpx.AsyncClient:
    # A proxy of the environment would follow rules of its own for redirects and addresses.
    return httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False)


async def _beginning(answer: httpx.Response) -> str:
    """Returns the beginning of an answer's body. The rest is not read."""
    read = b""
    async for chunk in answer.aiter_raw(MAX_ANSWER_BYTES):
        read += chunk
        if len(read) >= MAX_ANSWER_BYTES:
            break
    return read[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
