"""An OIDC issuer that speaks HTTP on a socket, and that a test can stop, break and give other keys."""

from __future__ import annotations

import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "emostream"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

ALGORITHMS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


@cache
def private_key(kid: str, algorithm: str) -> PrivateKey:
    """Returns the key with an id, which is the same for all tests, because RSA keys take long to make."""
    return new_private_key(algorithm)


def new_private_key(algorithm: str) -> PrivateKey:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


class Issuer:
    """A context manager; it listens while it is entered. `answers` replaces the body of a path, for a fault."""

    def __init__(self) -> None:
        self.private: dict[str, tuple[PrivateKey, str]] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.more_keys: list[Any] = []
        self.requests: list[str] = []
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                status, body = issuer.answers.get(self.path) or (200, json.dumps(issuer.page(self.path)).encode())
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def page(self, path: str) -> object:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [*self.more_keys, *(self.jwk(kid) for kid in self.private)]}

    def jwk(self, kid: str) -> dict[str, Any]:
        key, algorithm = self.private[kid]
        public: Any = key.public_key()
        return {**ALGORITHMS[algorithm].to_jwk(public, as_dict=True), "kid": kid, "use": "sig"}

    def add_key(self, kid: str, algorithm: str = "ES256") -> None:
        self.private[kid] = (private_key(kid, algorithm), algorithm)

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Returns the claims of a valid token. A claim that is given as None is left out."""
        now = int(time.time())
        made = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann@example.org",
            "exp": now + 600,
            "nbf": now,
            "scope": "openid emostream:query read",
            **claims,
        }
        return {name: value for name, value in made.items() if value is not None}

    def token(self, kid: str, *, named: str | None = None, **claims: Any) -> str:
        """Returns a token. `named` is the key id in its header, if that is to be another one."""
        key, algorithm = self.private[kid]
        return jwt.encode(self.claims(**claims), key, algorithm, headers={"kid": named or kid})
