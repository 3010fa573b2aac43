"""Frames as a Jetstream server sends them, and a server that sends them as fast as the client reads.

The events have the fields and the lengths of those of Bluesky's servers: half of the posts are answers, which name two
other posts, and one of eight has a hashtag. They are compressed with zstd and a dictionary. Jetstream's own dictionary
is a file of its program; this one is trained on such events, as that one was.
"""

from __future__ import annotations

import asyncio
import random
import string
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec
import zstandard
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.harness.posts import SEED
from connectors.sources.shapes.jetstream import POSTS

DICTIONARY_BYTES = 112_640
"""The length of the dictionary: that of `zstd --train`."""

_SAMPLES = 5_000
_BATCH = 100
"""Frames that are handed to the socket together."""

_MOST_WAITING = 1_000_000
"""Bytes in the server's buffer from which on it waits for the client."""

_BASE32 = string.ascii_lowercase + "234567"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Frames:
    """The same events in three forms.

    Attributes:
        dictionary: The zstd dictionary.
        messages: The compressed messages.
        plain_bytes: The length of all events as JSON.
    """

    dictionary: bytes
    messages: Sequence[bytes]
    plain_bytes: int

    @classmethod
    def make(cls, texts: Sequence[str], count: int, *, begin_us: int, step_us: int) -> Frames:
        """Make events of texts, which are used in turn. Each has its own account and key.

        Args:
            texts: At least one text.
            count: The number of events, at least 1.
            begin_us: The time of the first event, in microseconds since 1970.
            step_us: Microseconds from one event to the next.
        """
        samples: list[bytes | bytearray | memoryview] = []
        samples += events(texts, min(count, _SAMPLES), begin_us=begin_us, step_us=step_us)
        dictionary = zstandard.train_dictionary(DICTIONARY_BYTES, samples).as_bytes()
        compress = zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(dictionary)).compress
        messages, plain_bytes = [], 0
        for event in events(texts, count, begin_us=begin_us, step_us=step_us):
            plain_bytes += len(event)
            messages.append(compress(event))
        return cls(dictionary, messages, plain_bytes)


def events(texts: Sequence[str], count: int, *, begin_us: int, step_us: int) -> Iterator[bytes]:
    """Yield events as JSON; see `Frames.make`. They are the same in every run, but for their times."""
    rng = random.Random(SEED)

    def key(length: int) -> str:
        return "".join(rng.choices(_BASE32, k=length))

    def reference() -> dict[str, str]:
        return {"cid": f"bafyrei{key(52)}", "uri": f"at://did:plc:{key(24)}/{POSTS}/3l{key(11)}"}

    encode = msgspec.json.encode
    for number in range(count):
        time_us = begin_us + number * step_us
        created = (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = texts[number % len(texts)]
        record: dict[str, Any] = {"$type": POSTS, "createdAt": created, "langs": ["en"], "text": text}
        if number % 2:
            record["reply"] = {"parent": reference(), "root": reference()}
        if number % 8 == 0:
            tag = {"$type": "app.bsky.richtext.facet#tag", "tag": f"tag{number % 500}"}
            record["facets"] = [{"features": [tag], "index": {"byteEnd": len(text), "byteStart": 0}}]
        commit = {
            "rev": f"3l{key(11)}",
            "operation": "create",
            "collection": POSTS,
            "rkey": f"3l{key(11)}",
            "record": record,
            "cid": f"bafyrei{key(52)}",
        }
        yield encode({"did": f"did:plc:{key(24)}", "time_us": time_us, "kind": "commit", "commit": commit})


def as_websocket_frames(messages: Sequence[bytes]) -> bytes:
    """Returns messages as binary frames of a server (RFC 6455, section 5.2), each in one frame without a mask."""
    parts = []
    for message in messages:
        length = len(message)
        if length < 126:
            head = bytes([0x82, length])
        elif length < 65_536:
            head = b"\x82\x7e" + length.to_bytes(2, "big")
        else:
            head = b"\x82\x7f" + length.to_bytes(8, "big")
        parts += [head, message]
    return b"".join(parts)


class FrameServer:
    """Sends the messages to each client once, after `go`. A context manager, in a thread with its own event loop.

    Attributes:
        connected: Whether a client has connected.
    """

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._messages = messages
        self.connected = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="frames")

    @property
    def url(self) -> str:
        """The address."""
        return f"ws://127.0.0.1:{self._port}/subscribe"

    def go(self) -> None:
        """Begin to send."""
        self._loop.call_soon_threadsafe(self._go.set)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._go, self._end = asyncio.Event(), asyncio.Event()
        options: dict[str, Any] = {"compression": None, "ping_interval": None, "close_timeout": 1}
        async with serve(self._send, "127.0.0.1", 0, write_limit=_MOST_WAITING, **options) as server:
            self._port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            await self._end.wait()
            self._go.set()

    async def _send(self, connection: ServerConnection) -> None:
        self.connected.set()
        await self._go.wait()
        for first in range(0, len(self._messages), _BATCH):
            if self._end.is_set() or connection.transport.is_closing():
                return
            # The library would take longer to send a message than the ingester takes to read it.
            connection.transport.write(as_websocket_frames(self._messages[first : first + _BATCH]))
            await connection.drain()
            await asyncio.sleep(0)
        await connection.wait_closed()
