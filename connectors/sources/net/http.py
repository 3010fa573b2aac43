"""The HTTP client of the sources: guarded connections, bounded answers, time-outs."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

import httpcore
import httpx

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net.dialer import GuardedBackend
from connectors.sources.net.status import check_status

MAX_REDIRECTS = 5

USER_AGENT = "emostream"

_FOR_GOOD = (httpx.codes.MOVED_PERMANENTLY, httpx.codes.PERMANENT_REDIRECT)

Params = Mapping[str, str | int]


class TooLargeError(UnavailableError):
    """An answer is longer than the limit. What was read of it is dropped."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        status: the HTTP status.
        headers: the headers; names are in lower case.
        body: the body, decompressed.
        url: where the answer came from, after redirects.
        moved: whether there were redirects, and each of them says that the address has changed for good.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    moved: bool = False

    def check(self, what: str) -> None:
        """Raise the error of `check_status` if the status is not below 400."""
        check_status(self.status, self.headers, what)


class HttpClient:
    """An HTTP client with limits. Use it as an async context manager, or call `close`."""

    def __init__(self, client: httpx.AsyncClient, *, max_bytes: int, timeout_s: float) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def get(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> Answer:
        """Fetch a URL. Redirects are followed, if the client does that. The status is not checked: see `Answer.check`.

        Args:
            url: an `http` or `https` address.
            params: the query.
            headers: sent in addition to those of the client.
            max_bytes: the limit of the decompressed body; by default that of the client.

        Raises:
            TooLargeError: The body is longer than `max_bytes`.
            PrivateAddressError: The address, or that of a redirect, is not public.
            UnavailableError: There was no complete answer within `timeout_s`.
            RejectedError: The URL is malformed, or there are too many redirects.
        """
        async with self._timeout(url), self._open("GET", url, params=params, headers=headers) as response:
            return await _answer(response, self._max_bytes if max_bytes is None else max_bytes)

    async def post(
        self,
        url: str,
        document: object = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a JSON document, or a form, to a URL.

        A redirect is the answer, and is not followed: what is sent may hold secrets of this host.

        Raises:
            TooLargeError: The body is longer than `max_bytes` of the client.
            PrivateAddressError: The address is not public.
            UnavailableError: There was no complete answer within `timeout_s`.
            RejectedError: The URL is malformed.
        """
        async with (
            self._timeout(url),
            self._open("POST", url, json=document, form=form, headers=headers) as response,
        ):
            return await _answer(response, self._max_bytes)

    async def stream(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        check: Callable[[Answer], None] | None = None,
    ) -> AsyncGenerator[bytes | None, None]:
        r"""Yield the lines of an endless answer as they come, without their ends (`\n` or `\r\n`).

        A line longer than the client's `max_bytes` is dropped, and None is yielded in its place. Ends when the server
        ends the answer; a last line without an end is dropped. Only the connection has a time-out: some servers send
        the status with the first line, so the caller has a time-out of its own for lines. Close the iterator
        (`contextlib.aclosing`) to close the connection.

        Args:
            url: an `http` or `https` address.
            params: the query.
            headers: sent in addition to those of the client.
            check: called with the complete answer if the status is 400 or more; raises what its body says.

        Raises:
            PrivateAddressError: The address, or that of a redirect, is not public.
            RateLimitError: The status is 429, or 503 with a `Retry-After`.
            UnavailableError: The connection failed, or the status is 500 or more.
            RejectedError: The URL is malformed, or the status is another one of 400 and more.
        """
        async with self._open("GET", url, params=params, headers=headers, endless=True) as response:
            if check is not None and response.status_code >= 400:
                async with self._timeout(url):
                    check(await _answer(response, self._max_bytes))
            check_status(response.status_code, response.headers, f"the stream of {response.url.host}")
            pending = bytearray()
            dropping = False
            async for chunk in _decompressed(response):
                *complete, rest = chunk.split(b"\n")
                for part in complete:
                    pending += part
                    too_long = dropping or len(pending) > self._max_bytes
                    line = None if too_long else bytes(pending.removesuffix(b"\r"))
                    pending.clear()
                    dropping = False
                    yield line
                pending += rest
                if len(pending) > self._max_bytes:
                    pending.clear()
                    dropping = True

    @asynccontextmanager
    async def _timeout(self, url: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            raise UnavailableError(f"{host_of(url)} did not answer completely within {self._timeout_s:g} s") from None

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
        endless: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(self._timeout_s, read=None if endless else self._timeout_s)
        request = self._client.stream(
            method,
            url,
            params=params,
            headers=headers,
            json=json,
            data=form,
            timeout=timeout,
            follow_redirects=self._client.follow_redirects and method == "GET",
        )
        with _http_errors(url):
            async with request as response:
                yield response

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()


def open_http(
    *,
    allow_private: bool,
    max_bytes: int,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    redirects: bool = True,
) -> HttpClient:
    """Return an HTTP client that connects to public addresses only.

    Args:
        allow_private: whether it may connect to private, loopback and link-local addresses too.
        max_bytes: the longest body of an answer, and the longest line of a stream, after decompression.
        timeout_s: seconds that a request may take, its whole body included; for a stream, until it is connected.
        headers: sent with every request. `Authorization` is not sent to another host after a redirect.
        tls: how certificates are verified; by default against the certificate authorities of httpx.
        redirects: whether they are followed; otherwise a redirect is the answer.
    """
    transport = _GuardedTransport(allow_private=allow_private, tls=tls)
    client = httpx.AsyncClient(
        transport=transport,
        follow_redirects=redirects,
        max_redirects=MAX_REDIRECTS,
        trust_env=False,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", **(headers or {})},
    )
    return HttpClient(client, max_bytes=max_bytes, timeout_s=timeout_s)


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport with another way to connect, for which httpx has no argument."""

    def __init__(self, *, allow_private: bool, tls: ssl.SSLContext | None) -> None:
        context = _default_tls() if tls is None else tls
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=20,
            max_keepalive_connections=5,
            keepalive_expiry=30.0,
            network_backend=GuardedBackend(allow_private=allow_private),
        )


@cache
def _default_tls() -> ssl.SSLContext:
    """Returns the context of all clients. It takes 40 ms to make, in which the event loop would stand still."""
    return httpx.create_ssl_context()


async def _answer(response: httpx.Response, limit: int) -> Answer:
    """Read a whole answer.

    Raises:
        TooLargeError: The body is longer than `limit` bytes.
    """
    body = bytearray()
    async for chunk in _decompressed(response):
        body += chunk
        if len(body) > limit:
            raise TooLargeError(f"the answer of {response.url.host} is longer than {limit:,} bytes")
    return Answer(
        response.status_code,
        dict(response.headers),
        bytes(body),
        str(response.url),
        moved=bool(response.history) and all(hop.status_code in _FOR_GOOD for hop in response.history),
    )


_CHUNK = 64 * 1024
"""Most bytes that are decompressed at once."""


async def _decompressed(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the body in small parts, so that a limit takes effect before a compressed body fills the memory.

    httpx decompresses what it has received at once, which may become a thousand times as much.

    Raises:
        UnavailableError: The body is damaged, ends before its compressed data do, or is compressed in another way than
            was asked for.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip"):
        raise UnavailableError(
            f"{response.url.host} answered in the encoding {encoding[:40]!r}, which was not asked for"
        )
    # 16 selects the format of gzip.
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    is_empty = True
    try:
        async for chunk in response.aiter_raw():
            data = chunk
            is_empty = is_empty and not chunk
            while data and not decompressor.eof:
                yield decompressor.decompress(data, _CHUNK)
                data = decompressor.unconsumed_tail
            # What is left inside the decompressor, when it stopped at the limit with all its input consumed.
            while not decompressor.eof and (more := decompressor.decompress(b"", _CHUNK)):
                yield more
    except zlib.error as exc:
        raise UnavailableError(f"{response.url.host} answered with damaged gzip: {exc}") from exc
    if not (is_empty or decompressor.eof):
        raise UnavailableError(f"{response.url.host} ended its answer in the middle of the gzip data")


@contextmanager
def _http_errors(url: str) -> Iterator[None]:
    """Map the errors of httpx to those of the connectors."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
        raise RejectedError(f"{host_of(url)} cannot be fetched: {exc}") from exc
    except httpx.TooManyRedirects as exc:
        raise RejectedError(f"{host_of(url)} redirects more than {MAX_REDIRECTS} times") from exc
    except httpx.TimeoutException as exc:
        raise UnavailableError(f"{host_of(url)} did not answer in time") from exc
    except httpx.HTTPError as exc:
        raise UnavailableError(f"{host_of(url)} did not answer: {exc or type(exc).__name__}") from exc


def host_of(url: str) -> str:
    """Returns the host of a URL for messages: the other parts may hold secrets."""
    try:
        return httpx.URL(url).host or "the address"
    except httpx.InvalidURL:
        return "the address"
