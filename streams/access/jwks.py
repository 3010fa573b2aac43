"""The public keys of an OIDC issuer: fetched over HTTP, kept, and fetched again when they are old or one is unknown.

1. Keys that were fetched within `REFRESH_S` decide alone. Older ones decide too, while they are fetched again in the
   background.
2. A token with an unknown key id causes a new fetch, at most once in `RECHECK_S`. So keys may be rotated at any time,
   and invented ids do not reach the issuer.
3. While the issuer does not answer, the keys serve for `KEEP_S`. A token with an unknown key id is unavailable then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.repeats import Repeats
from streams.access.metrics import AccessMetrics
from streams.access.refresher import Refresher

logger = logging.getLogger(__name__)

REFRESH_S = 300.0
"""Seconds after which the keys are fetched again."""

RECHECK_S = 10.0
"""Seconds between two fetches because of an unknown key id."""

KEEP_S = 86_400.0
"""Seconds for which fetched keys serve while the issuer does not answer."""

TIMEOUT_S = 10.0
"""Seconds for a fetch: the discovery document and the keys."""

MAX_BYTES = 1_048_576
"""Bytes of an answer, beyond which it is refused."""

MAX_KEYS = 100
"""Keys of an issuer that are read."""

MIN_RSA_BITS = 2_048
"""Bits of the shortest RSA key that is accepted, as RFC 7518 (3.3) demands."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

ALGORITHMS = frozenset({*_RSA, *_CURVES.values(), "EdDSA"})
"""The algorithms of tokens that are accepted. All are asymmetric."""


class SigningKey:
    """A public key of the issuer, and the algorithms that it may be used with.

    The key decides the algorithm. If the token did, it could name HS256 and use the public key as its secret.
    """

    def __init__(self, jwk: dict[str, Any]) -> None:
        """Read a key.

        Raises:
            ValueError: It is not a public key for signatures, or is too weak.
        """
        self.kid = jwk.get("kid")
        if jwk.get("use", "sig") != "sig" or jwk.get("kty") not in {"RSA", "EC", "OKP"}:
            raise ValueError("not a public key for signatures")
        try:
            self.key = jwt.PyJWK(jwk).key
        except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
            raise ValueError("not a key that can be read") from None
        allowed: tuple[str, ...] = ()
        if isinstance(self.key, RSAPublicKey):
            allowed = _RSA if self.key.key_size >= MIN_RSA_BITS else ()
        elif isinstance(self.key, EllipticCurvePublicKey):
            allowed = tuple(filter(None, [_CURVES.get(self.key.curve.name)]))
        elif isinstance(self.key, Ed25519PublicKey):
            allowed = ("EdDSA",)
        self.algorithms = tuple(one for one in allowed if one == jwk.get("alg", one))
        if not self.algorithms:
            raise ValueError("no algorithm that is allowed")


class Jwks:
    """The keys of one issuer."""

    def __init__(
        self,
        issuer: str,
        url: str | None,
        metrics: AccessMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Prepare the keys.

        Args:
            issuer: Address of the issuer, without a slash at its end.
            url: Address of its keys; None to ask its discovery document.
            metrics: Where failures are counted.
            clock: Seconds of a clock that never goes back.
            timeout_s: Seconds for a fetch.
        """
        self._issuer = issuer
        self._url = url
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)
        self._keys: tuple[SigningKey, ...] = ()
        self._repeats = Repeats()
        self._refresher = Refresher(self._read, failed=self._failed, clock=clock)
        self.generation = 0
        """Rises whenever the keys have changed."""

    async def start(self) -> None:
        """Fetch the keys. If the issuer does not answer, the first request does it."""
        await self._refresher.first()

    async def close(self) -> None:
        """Close the connections."""
        await self._refresher.close()
        await self._client.aclose()

    def refresh(self) -> None:
        """Fetch the keys in the background if they are old."""
        if self._refresher.age_s > REFRESH_S:
            self._refresher.start()

    async def find(self, kid: object, algorithm: object) -> SigningKey | None:
        """Returns the key for a token; None if the issuer has none.

        Args:
            kid: The key id that the token names; None if it names none. Then the only key with the algorithm is taken.
            algorithm: The algorithm that the token names.

        Raises:
            UnavailableError: The key is unknown, and the issuer does not answer.
        """
        self.refresh()
        found = self._fitting(kid, algorithm)
        if found is None and (self._refresher.in_progress or self._refresher.tried_s > RECHECK_S):
            await self._refresher.attempt()
            found = self._fitting(kid, algorithm)
        in_doubt = self._refresher.problem is not None or self._refresher.in_progress
        if self._refresher.age_s > KEEP_S or (found is None and in_doubt):
            why = self._refresher.problem or "it takes long to answer"
            raise UnavailableError(f"tokens of {self._issuer} cannot be checked now: {why}")
        return found

    def _fitting(self, kid: object, algorithm: object) -> SigningKey | None:
        fitting = [key for key in self._keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fitting[0] if fitting and (kid is not None or len(fitting) == 1) else None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._fetch_keys()
        except TimeoutError as exc:
            raise UnavailableError(f"{self._issuer} did not answer within {self._timeout_s:g} s") from exc

    async def _fetch_keys(self) -> None:
        url = self._url
        if url is None:
            document = await self._fetch(f"{self._issuer}/.well-known/openid-configuration")
            if str(document.get("issuer")).rstrip("/") != self._issuer:
                raise RejectedError(f"the discovery document of {self._issuer} is that of another issuer")
            url = str(document.get("jwks_uri"))
            if urlsplit(url).scheme not in {"https", urlsplit(self._issuer).scheme}:
                raise RejectedError(f"the discovery document of {self._issuer} names no address of keys with https")
        keys = (await self._fetch(url)).get("keys")
        if not isinstance(keys, list):
            raise RejectedError(f"{url} is not a key set: it has no list of keys")
        found = tuple(_readable(keys[:MAX_KEYS]))
        if not found:
            raise RejectedError(f"{url} has no key for signatures that emostream accepts")
        if [(key.kid, key.key) for key in found] != [(key.kid, key.key) for key in self._keys]:
            self.generation += 1
        self._keys = found
        self._repeats.end("keys")

    async def _fetch(self, url: str) -> dict[str, Any]:
        body = bytearray()
        # What is compressed could be of any size.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            async with self._client.stream("GET", url, headers=headers) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise UnavailableError(f"{url} answered with {answer.status_code}")
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise RejectedError(f"{url} answered with more than {MAX_BYTES:,} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise UnavailableError(f"{url} did not answer: {str(exc) or type(exc).__name__}") from exc
        return _json_object(bytes(body), url)

    def _failed(self, problem: ConnectorError) -> None:
        self._metrics.issuer_failures.inc()
        if self._repeats.due("keys"):
            logger.warning(
                "the keys of %s cannot be fetched, and those that are known serve: %s", self._issuer, problem
            )


def _json_object(body: bytes, url: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise RejectedError(f"{url} did not answer with JSON") from None
    if not isinstance(document, dict):
        raise RejectedError(f"{url} did not answer with a JSON object")
    return document


def _readable(jwks: Iterable[object]) -> Iterable[SigningKey]:
    """Yields the keys that can be used. A set may have others, such as keys for encryption."""
    for jwk in jwks:
        if isinstance(jwk, dict):
            try:
                yield SigningKey(jwk)
            except ValueError:
                continue
