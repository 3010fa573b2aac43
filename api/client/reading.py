"""Reads the bodies of answers, up to a length. So a wrong address, or a broken server, cannot fill the memory."""

from __future__ import annotations

import httpx

from api.client.errors import ApiError

MAX_ANSWER_BYTES = 64 * 1_048_576
"""The most bytes of an answer after decompression. The longest answers of the service have a few megabytes."""


def read(response: httpx.Response) -> bytes:
    """Returns the body of an answer that is being received.

    Raises:
        ApiError: The answer is too long. Its rest is not read.
        httpx.HTTPError: The connection failed.
    """
    found = bytearray()
    for part in response.iter_bytes():
        _add(found, part, response)
    return bytes(found)


async def read_async(response: httpx.Response) -> bytes:
    """Returns the body of an answer that is being received, as `read` does."""
    found = bytearray()
    async for part in response.aiter_bytes():
        _add(found, part, response)
    return bytes(found)


def _add(found: bytearray, part: bytes, response: httpx.Response) -> None:
    if len(found) + len(part) > MAX_ANSWER_BYTES:
        call = f"{response.request.method} {response.url.path}"
        message = f"{call}: the answer has more than {MAX_ANSWER_BYTES:,} bytes"
        raise ApiError(message, status=response.status_code)
    found += part
