"""Reads the bodies of answers, up to a length. So a wrong address, or a broken server, cannot fill the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

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


class LimitedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The bytes of a live stream, which ends with an `ApiError` if an event has more than `MAX_ANSWER_BYTES`."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._since_event = 0

    @classmethod
    def of(cls, response: httpx.Response) -> LimitedStream:
        """Limit the events of a response that is being received. Returns what counts them."""
        response.stream = limited = cls(response.stream)
        return limited

    def reset(self) -> None:
        """Begin to count again, because an event is complete."""
        self._since_event = 0

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._stream, httpx.SyncByteStream)  # noqa: S101 - for the type checker
        for part in self._stream:
            self._count(part)
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
        async for part in self._stream:
            self._count(part)
            yield part

    def close(self) -> None:
        """Close the connection."""
        assert isinstance(self._stream, httpx.SyncByteStream)  # noqa: S101 - for the type checker
        self._stream.close()

    async def aclose(self) -> None:
        """Close the connection."""
        assert isinstance(self._stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
        await self._stream.aclose()

    def _count(self, part: bytes) -> None:
        self._since_event += len(part)
        if self._since_event > MAX_ANSWER_BYTES:
            raise ApiError(f"the live stream has an event of more than {MAX_ANSWER_BYTES:,} bytes")


def _add(found: bytearray, part: bytes, response: httpx.Response) -> None:
    if len(found) + len(part) > MAX_ANSWER_BYTES:
        call = f"{response.request.method} {response.url.path}"
        message = f"{call}: the answer has more than {MAX_ANSWER_BYTES:,} bytes"
        raise ApiError(message, status=response.status_code)
    found += part
