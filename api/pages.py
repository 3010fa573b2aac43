"""Serves the dashboard: one page at several paths, and its assets.

The files are read and compressed once, at the start. A path is looked up among them and never opened, so that no path
leads out of the folder. The page needs no credentials, because it contains no data: its calls send them.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import ProblemError, send_problem
from api.responses import has_tag

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "static"
"""Where `make dashboard` writes the page."""

INDEX = "index.html"
ASSETS = "/assets/"

PAGE_PATHS = ("/", "/keywords", "/compare", "/ask", "/alerts")
"""The paths of the page. It decides by the path what it shows, so that each view has an address."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and do: nothing but its own files, its own service, and pictures that it draws."""

PERMISSIONS_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
"""What the browser keeps from the page, which uses none of it."""

_HTML_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"permissions-policy", PERMISSIONS_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
]

_YEAR = b"public, max-age=31536000, immutable"
"""How long an asset is kept: its name has a hash of its content."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
"""The content types. Those of the system differ from machine to machine."""

_USED_ASSET = re.compile(rb'(?:src|href)="/assets/([^"]+)"')


@dataclass(frozen=True)
class Route:
    """What the metrics call the requests of a file."""

    path: str


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent.

    Attributes:
        route: the route in the metrics.
        body: its content.
        compressed: the content as gzip; None if that is not shorter.
        etag: its ETag.
        headers: headers of each answer, also of one without the content.
        media_type: its content type.
    """

    route: Route
    body: bytes
    compressed: bytes | None
    etag: str
    headers: list[tuple[bytes, bytes]]
    media_type: bytes


def read_pages(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Returns the files of the page by their paths; none, and a line in the log, if the page is not whole.

    A checkout in which the page was never built has none, for example. The service works without it.
    """
    try:
        index = (folder / INDEX).read_bytes()
        names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
        contents = {f"/{name}": (folder / name).read_bytes() for name in names if name != INDEX}
    except OSError as exc:
        logger.warning("there is no dashboard: %s cannot be read (%s); `make dashboard` builds it", exc.filename, exc)
        return {}
    missing = [name for one in _USED_ASSET.findall(index) if f"{ASSETS}{(name := one.decode())}" not in contents]
    if missing:
        logger.error("there is no dashboard: %s has no assets/%s; install emostream again", folder, missing[0])
        return {}
    page = _page_file(INDEX, index, Route("/"), [(b"cache-control", b"no-cache"), *_HTML_HEADERS])
    return {
        **{path: _file(path, body) for path, body in contents.items()},
        **dict.fromkeys(PAGE_PATHS, page),
    }


def _file(path: str, body: bytes) -> PageFile:
    if path.startswith(ASSETS):
        return _page_file(path, body, Route(f"{ASSETS}{{name}}"), [(b"cache-control", _YEAR)])
    return _page_file(path, body, Route(path), [(b"cache-control", b"no-cache")])


def _page_file(name: str, body: bytes, route: Route, headers: list[tuple[bytes, bytes]]) -> PageFile:
    # The tag is weak (RFC 9110, section 8.8.3), because the compressed content has the same one.
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    compressed = gzip.compress(body, 9, mtime=0)
    return PageFile(
        route,
        body,
        compressed if len(compressed) < len(body) else None,
        etag,
        [
            *headers,
            (b"etag", etag.encode()),
            (b"vary", b"Accept-Encoding"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ],
        _TYPES.get(Path(name).suffix, "application/octet-stream").encode(),
    )


class PageMiddleware:
    """An ASGI app that answers the requests of the page's files, and leaves all others to the service."""

    def __init__(self, app: ASGIApp, files: Mapping[str, PageFile]) -> None:
        """Serve these files in front of an app."""
        self._app = app
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. One for HEAD comes as GET, and the web server leaves the content out."""
        path = scope["path"] if scope["type"] == "http" else ""
        found = self._files.get(path)
        if found is None and not (self._files and path.startswith(ASSETS)):
            await self._app(scope, receive, send)
            return
        scope["route"] = Route(f"{ASSETS}{{name}}") if found is None else found.route
        if found is None:
            await send_problem(ProblemError(HTTPStatus.NOT_FOUND, "there is no such asset"), scope, receive, send)
        elif scope["method"] != "GET":
            refusal = ProblemError(HTTPStatus.METHOD_NOT_ALLOWED, "pages are only read", headers={"Allow": "GET, HEAD"})
            await send_problem(refusal, scope, receive, send)
        else:
            await _send_file(found, scope, send)


async def _send_file(file: PageFile, scope: Scope, send: Send) -> None:
    headers = list(file.headers)
    if has_tag(_header(scope, b"if-none-match"), file.etag):
        await send({"type": "http.response.start", "status": HTTPStatus.NOT_MODIFIED.value, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    body = file.body
    if file.compressed is not None and accepts_gzip(_header(scope, b"accept-encoding")):
        body = file.compressed
        headers.append((b"content-encoding", b"gzip"))
    headers += [(b"content-type", file.media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, wanted: bytes) -> str:
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted)


def accepts_gzip(header: str) -> bool:
    """Returns whether a client that sends this `Accept-Encoding` reads gzip (RFC 9110, section 12.5.3)."""
    for part in header.split(","):
        name, _, parameters = part.partition(";")
        if name.strip().lower() in {"gzip", "x-gzip"}:
            return re.fullmatch(r"\s*q=0(\.0*)?\s*", parameters, re.IGNORECASE) is None
    return False
