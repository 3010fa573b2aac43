r"""The form in which the cache holds an answer. Pure.

It has two parts, because one member of an answer changes when the answer comes from the cache:

    windows\n{"keyword":"coffee", …, "notes":[]

The first line is the source. What follows is the JSON of the answer without its source and without the last brace. So
an answer from the cache is put together from bytes, and never decoded.
"""

from __future__ import annotations

from streams.query.answer import Answer


def encode(answer: Answer) -> bytes:
    """Returns the form in which an answer is stored."""
    source = answer.source.encode()
    # Quotation marks in strings are escaped, so these bytes are the member and nothing else.
    before, _, after = answer.to_json().partition(b'"source":"%b",' % source)
    return source + b"\n" + before + after.removesuffix(b"}")


def split(stored: bytes) -> tuple[bytes, bytes]:
    """Returns the source and the JSON without the source and without the last brace."""
    source, _, body = stored.partition(b"\n")
    return source, body


def decode(stored: bytes) -> Answer:
    """Returns the answer.

    Raises:
        RecordError: Another program has written it.
    """
    source, body = split(stored)
    return Answer.from_json(b'%b,"source":"%b"}' % (body, source))
