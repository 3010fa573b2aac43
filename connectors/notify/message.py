"""A message in the forms that the channels need. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        key: the same in every repetition of the message, so that a receiver can drop a repeat. Printable ASCII.
        subject: one line without control characters.
        text: the body as plain text, for mail.
        html: the body as HTML. It refers to the picture as `cid:chart`.
        chat_subject: the subject, in which nothing mentions anybody, for chats.
        chat: the body as plain text in which nothing mentions anybody, for chats.
        body: the record as JSON in UTF-8, for programs.
        reply_to: the key of the message that this one follows; empty for none.
        picture: a PNG; None for none.
    """

    key: str
    subject: str
    text: str
    html: str
    chat_subject: str
    chat: str
    body: bytes
    reply_to: str = ""
    picture: bytes | None = None
