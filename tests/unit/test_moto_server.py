"""Writes to the embedded S3 are served one after another, and neither reads nor slow writers wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Event
from typing import Any

from connectors.local.moto_server import OneWriteAtATime

WAIT_S = 60.0


class Body(BytesIO):
    """The content of a request. Signals when it has been read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.was_read = Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.was_read.set()
        return super().read(size)


def request(application: OneWriteAtATime, method: str, content: Body | None = None) -> list[bytes]:
    environ = {"REQUEST_METHOD": method, "CONTENT_LENGTH": "1" if content else "", "wsgi.input": content or BytesIO()}
    return list(application(environ, lambda *_: lambda _data: None))


def test_a_write_waits_for_the_write_before_it() -> None:
    entered, first_may_end, second_entered = Event(), Event(), Event()

    def serve(environ: dict[str, Any], _start: object) -> list[bytes]:
        content: bytes = environ["wsgi.input"].read()
        if content == b"1":
            entered.set()
            assert first_may_end.wait(WAIT_S)
            # The second one has been read and waits. Without the lock it enters at once.
            assert not second_entered.wait(0.2)
        elif content == b"2":
            second_entered.set()
        return [content]

    application = OneWriteAtATime(serve)
    first, second = Body(b"1"), Body(b"2")
    with ThreadPoolExecutor() as pool:
        writes = [pool.submit(request, application, "PUT", first)]
        assert entered.wait(WAIT_S)
        assert request(application, "GET") == [b""], "a read does not wait"
        writes.append(pool.submit(request, application, "POST", second))
        assert second.was_read.wait(WAIT_S)
        first_may_end.set()
        assert [write.result(WAIT_S) for write in writes] == [[b"1"], [b"2"]]
