"""The guarded HTTP client: which addresses it connects to, and the limits of what it takes."""

import asyncio
import gzip
from contextlib import aclosing, suppress

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net import PrivateAddressError, TooLargeError, dialer, host_of, open_http
from connectors.sources.net.addresses import is_public
from connectors.sources.protocol import RateLimitError
from tests.source_servers.canned import answer, answering


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata service of clouds
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:a00:1::1",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "64:ff9b::a00:1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


async def test_a_body_and_its_headers() -> None:
    async with (
        answering(answer(b"hello", ETag='"1"')) as (url, _),
        open_http(allow_private=True, max_bytes=100, timeout_s=10) as client,
    ):
        found = await client.get(f"{url}/feed", params={"q": "a b"})
        assert (found.status, found.body, found.headers["etag"]) == (200, b"hello", '"1"')


async def test_a_private_address_is_refused() -> None:
    async with (
        answering(answer(b"secret")) as (url, paths),
        open_http(allow_private=False, max_bytes=100, timeout_s=10) as client,
    ):
        for name in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "[::ffff:127.0.0.1]")):
            with pytest.raises(PrivateAddressError, match="not a public address"):
                await client.get(name)
        assert paths == []


async def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(2, 1, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(PrivateAddressError, match=r"rebinding\.example is at 127\.0\.0\.1"):
        await dialer.addresses_of("rebinding.example", 80, allow_private=False)


async def test_of_several_addresses_only_the_public_ones_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(2, 1, 6, "", (address, 80)) for address in ("10.0.0.1", "8.8.8.8", "8.8.8.8")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    assert await dialer.addresses_of("mixed.example", 80, allow_private=False) == ["8.8.8.8"]


async def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server of the test stands for a public one; 127.0.0.2 is the private address.
    monkeypatch.setattr(dialer, "is_public", lambda address: address == "127.0.0.1")
    async with answering(b"") as (target, _):
        inner = target.replace("127.0.0.1", "127.0.0.2")
        async with (
            answering(answer(status="302 Found", Location=inner)) as (url, _),
            open_http(allow_private=False, max_bytes=100, timeout_s=10) as client,
        ):
            with pytest.raises(PrivateAddressError, match=r"127\.0\.0\.2"):
                await client.get(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://me:key@e.example?key", "e.example"),
        ("https://e.example/key?key#key", "e.example"),
        ("https://e.example:key/", "the address"),
    ],
)
def test_messages_have_the_host_of_an_address_only(url: str, host: str) -> None:
    assert host_of(url) == host


async def test_redirects_end_somewhere() -> None:
    async with (
        answering(answer(status="302 Found", Location="/again")) as (url, paths),
        open_http(allow_private=True, max_bytes=100, timeout_s=10) as client,
    ):
        with pytest.raises(RejectedError, match="redirects more than 5 times"):
            await client.get(url)
        assert len(paths) == 6


async def test_a_redirect_to_a_file_is_refused() -> None:
    async with (
        answering(answer(status="302 Found", Location="file:///etc/passwd")) as (url, _),
        open_http(allow_private=True, max_bytes=100, timeout_s=10) as client,
    ):
        with pytest.raises(RejectedError):
            await client.get(url)


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_has_a_limit(compressed: bool) -> None:
    body = b"0" * 30_000_000 if compressed else b"0" * 2_000
    sent = answer(gzip.compress(body, 9), Content_Encoding="gzip") if compressed else answer(body)
    async with answering(sent) as (url, _), open_http(allow_private=True, max_bytes=1_000, timeout_s=10) as client:
        with pytest.raises(TooLargeError, match="longer than 1,000 bytes"):
            await client.get(url)


async def test_compressed_bodies_are_decompressed_completely() -> None:
    body = bytes(range(256)) * 4_000
    async with (
        answering(answer(gzip.compress(body), Content_Encoding="gzip")) as (url, _),
        open_http(allow_private=True, max_bytes=2_000_000, timeout_s=10) as client,
    ):
        assert (await client.get(url)).body == body


@pytest.mark.parametrize(
    ("body", "problem"),
    [(b"no gzip", "damaged gzip"), (gzip.compress(b"x" * 1_000, mtime=0)[:-9], "in the middle of the gzip data")],
    ids=["damaged", "cut"],
)
async def test_a_damaged_body_is_an_error(body: bytes, problem: str) -> None:
    async with (
        answering(answer(body, Content_Encoding="gzip")) as (url, _),
        open_http(allow_private=True, max_bytes=1_000, timeout_s=10) as client,
    ):
        with pytest.raises(UnavailableError, match=problem):
            await client.get(url)


async def test_an_empty_body_may_be_called_compressed() -> None:
    async with (
        answering(answer(status="304 Not Modified", Content_Encoding="gzip")) as (url, _),
        open_http(allow_private=True, max_bytes=1_000, timeout_s=10) as client,
    ):
        assert (await client.get(url)).status == 304


async def test_a_server_that_sends_slowly_is_given_up() -> None:
    given_up, ended = asyncio.Event(), asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        with suppress(ConnectionError):
            while not given_up.is_set():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with open_http(allow_private=True, max_bytes=10_000_000, timeout_s=0.3) as client:
            with pytest.raises(UnavailableError, match="did not answer"):
                await client.get(url)
        given_up.set()
        await ended.wait()


async def test_lines_of_a_stream_have_a_limit() -> None:
    body = b"one\r\n" + b"x" * 5_000 + b"\n\ntwo\nunfinished"
    async with (
        answering(answer(body)) as (url, _),
        open_http(allow_private=True, max_bytes=100, timeout_s=10) as client,
        aclosing(client.stream(url)) as lines,
    ):
        assert [line async for line in lines] == [b"one", None, b"", b"two"]


async def test_a_stream_that_is_refused() -> None:
    refused = answer(status="429 Too Many Requests", Retry_After="7")
    async with answering(refused) as (url, _), open_http(allow_private=True, max_bytes=100, timeout_s=10) as client:
        with pytest.raises(RateLimitError) as caught:
            async for _ in client.stream(url):
                pass
        assert caught.value.retry_after_s == 7


async def test_a_server_that_is_gone() -> None:
    async with open_http(allow_private=True, max_bytes=100, timeout_s=10) as client:
        with pytest.raises(UnavailableError, match="did not answer"):
            await client.get("http://127.0.0.1:1/")
        with pytest.raises(UnavailableError, match="cannot be resolved"):
            await client.get("http://nowhere.invalid/")
        with pytest.raises(RejectedError):
            await client.get("ftp://127.0.0.1/")
