"""Answers that are JSON already, with an ETag, and the documentation of errors."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request
from starlette.responses import Response

PROBLEM_SCHEMA = "Problem"

_PROBLEM: dict[str, Any] = {
    "content": {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{PROBLEM_SCHEMA}"}}}
}


def problems(*statuses: int, has_etag: bool = False) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI description of the errors with these statuses.

    With `has_etag` it also has the answer to a client that has the answer already.
    """
    not_modified: dict[int | str, dict[str, Any]] = {304: {"description": "The client has this answer already."}}
    return {**(not_modified if has_etag else {}), **{status: {**_PROBLEM} for status in statuses}}


class JsonBytes(Response):
    """A JSON answer that is written already. It leaves out what Starlette does to work out the headers."""

    def __init__(self, body: bytes) -> None:
        """Take over the body, which is JSON in UTF-8."""
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


def json_answer(request: Request, body: bytes, *, cache_control: str = "no-cache") -> Response:
    """Returns a JSON answer with an ETag; 304 without a body if the client has this answer already.

    The ETag is weak (RFC 9110, section 8.8.3), because a compressed answer has the same one.
    """
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": cache_control}
    if has_tag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def has_tag(header: str, etag: str) -> bool:
    """Returns whether a header `If-None-Match` names this ETag, which is weak."""
    return etag in {tag if tag.startswith("W/") else f"W/{tag}" for tag in map(str.strip, header.split(","))}
