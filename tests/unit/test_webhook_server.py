"""The HTTP server of the webhook without a source: clients that go away in the middle."""

from __future__ import annotations

import asyncio
import errno

import pytest

from connectors.sources.webhook.server import Answer, HttpServer, Request, ServerLimits


async def test_a_client_that_has_gone_before_the_end_of_its_refusal_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def not_connected(_: asyncio.StreamWriter) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    async def handle(_: Request) -> Answer:
        return Answer(200, {})

    monkeypatch.setattr(asyncio.StreamWriter, "write_eof", not_connected)
    refused: list[int] = []
    server = HttpServer(handle, ServerLimits(), on_refused=refused.append)
    port = await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 no request\r\n\r\n")
        assert b" 400 " in await asyncio.wait_for(reader.read(), 30)
        writer.close()
    finally:
        await server.close()
    assert refused == [400]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
