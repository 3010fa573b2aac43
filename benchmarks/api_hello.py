"""A bare ASGI app in the web server of the HTTP service, with the same settings: what a request costs at least.

python -m benchmarks.api_hello PORT
"""

from __future__ import annotations

import sys

import uvicorn
import uvloop
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from api.server import BACKLOG

BODY = b'{"hello":"world"}'


async def hello(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Read the request, and answer."""
    while True:
        message = await receive()
        if message["type"] != "http.request" or not message["more_body"]:
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": BODY, "more_body": False})


if __name__ == "__main__":
    config = uvicorn.Config(
        hello,
        port=int(sys.argv[1]),
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )
    uvloop.run(uvicorn.Server(config).serve())
