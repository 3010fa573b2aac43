"""The Redis key of an answer. Two different questions never have the same key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

ANSWER_FORMAT = 1
"""Number of the layout of stored answers. A release that changes the layout raises it, so that no process reads an
answer in a layout that it does not know."""


def answer_key(prefix: str, *, keyword: str, limit: int, since_ms: int | None, models: Iterable[str]) -> str:
    """Returns `<prefix>:answer:<SHA-256 of the question>`.

    The keyword is part of the key as it is. A caller that regards `Coffee` and `coffee` as the same keyword folds them
    before.

    Args:
        prefix: The setting `redis_prefix`.
        keyword: Any text, lone surrogates included.
        limit: Most posts that the answer counts.
        since_ms: Begin of the span in ms since 1970; None for the default span. A caller that derives it from the
            present rounds it, because each value has an answer of its own.
        models: Name and version of each model that contributes to the answer, in any order.
    """
    question = encode_question(keyword=keyword, limit=limit, since_ms=since_ms, models=models)
    return f"{prefix}:answer:{hashlib.sha256(question).hexdigest()}"


def encode_question(*, keyword: str, limit: int, since_ms: int | None, models: Iterable[str]) -> bytes:
    """Returns bytes from which the question can be read again, whatever characters its texts have.

    Each part begins with its kind, and one of variable length has its length before its content.
    """
    return _encode_list(
        [
            _encode_int(ANSWER_FORMAT),
            _encode_text(keyword),
            _encode_int(limit),
            b"n" if since_ms is None else _encode_int(since_ms),
            _encode_list([_encode_text(model) for model in sorted(models)]),
        ]
    )


def _encode_text(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(content), content)


def _encode_int(number: int) -> bytes:
    return b"i%d;" % number


def _encode_list(parts: list[bytes]) -> bytes:
    return b"l%d:%b" % (len(parts), b"".join(parts))
