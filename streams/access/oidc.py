"""Checks bearer tokens of an OIDC issuer: JWTs as of RFC 7519, with the advice of RFC 8725."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jwt

from streams.access.caller import Caller
from streams.access.errors import Refusal, UnauthenticatedError
from streams.access.jwks import ALGORITHMS, Jwks
from streams.access.scopes import Scope, known_scopes

LEEWAY_S = 30
"""Seconds by which the issuer's clock may differ."""

MAX_TOKEN_CHARS = 16_384
"""Characters of the longest token that is read."""

CACHE_S = 60.0
"""Seconds for which a token that was checked is not checked again."""

MAX_CACHED = 10_000
"""Tokens that are remembered."""

_SCOPE_CLAIMS = ("scope", "scp", "permissions")
_MAX_NAME = 200


class _Checked(NamedTuple):
    """A token that was checked: until when that holds, on the clock, and with which generation of keys."""

    caller: Caller
    until: float
    generation: int


class OidcVerifier:
    """Tells whose token it is."""

    def __init__(
        self,
        jwks: Jwks,
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the verifier.

        Args:
            jwks: The keys of the issuer.
            issuer: The `iss` of its tokens. A slash at the end makes no difference.
            audience: What `aud` has to name.
            clock: Seconds of a clock that never goes back.
            now: Seconds since 1970.
        """
        self._jwks = jwks
        self._issuers = [issuer.rstrip("/"), issuer.rstrip("/") + "/"]
        self._audience = audience
        self._clock = clock
        self._now = now
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """Returns who has the token.

        Raises:
            UnauthenticatedError: The token is not one of the issuer for this audience, or not valid now.
            UnavailableError: The key of the token is unknown, and the issuer does not answer.
        """
        if len(token) > MAX_TOKEN_CHARS or token.count(".") != 2 or not token.isascii():
            raise UnauthenticatedError(Refusal.MALFORMED)
        self._jwks.refresh()
        digest = hashlib.sha256(token.encode("ascii")).digest()
        known = self._checked.get(digest)
        if known is not None and known.until > self._clock() and known.generation == self._jwks.generation:
            return known.caller
        claims = await self._claims(token)
        caller = _caller(claims)
        valid_s = min(CACHE_S, float(claims["exp"]) + LEEWAY_S - self._now())
        self._checked[digest] = _Checked(caller, self._clock() + valid_s, self._jwks.generation)
        self._checked.move_to_end(digest)
        if len(self._checked) > MAX_CACHED:
            self._checked.popitem(last=False)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise UnauthenticatedError(Refusal.MALFORMED) from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise UnauthenticatedError(Refusal.UNKNOWN)
        key = await self._jwks.find(header.get("kid"), algorithm)
        if key is None:
            raise UnauthenticatedError(Refusal.UNKNOWN)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                audience=self._audience,
                issuer=self._issuers,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"], "verify_sub": True},
            )
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError(Refusal.EXPIRED) from None
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            raise UnauthenticatedError(Refusal.UNKNOWN) from None
        except jwt.DecodeError:
            raise UnauthenticatedError(Refusal.MALFORMED) from None
        except jwt.PyJWTError:
            raise UnauthenticatedError(Refusal.CLAIMS) from None
        return claims


def _caller(claims: Mapping[str, Any]) -> Caller:
    """Returns whose token it is: the subject, or the client of a token without one."""
    subject = next((claims[name] for name in ("sub", "client_id", "azp") if claims.get(name)), None)
    if not isinstance(subject, str):
        raise UnauthenticatedError(Refusal.CLAIMS)
    # Subjects may be long and may be addresses of people, and ids go into Redis and logs.
    id_ = hashlib.sha256(f"{claims['iss'].rstrip('/')}\n{subject}".encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return Caller(f"oidc-{id_}", subject[:_MAX_NAME], _scopes(claims))


def _scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Returns the scopes of a token: strings separated by spaces (RFC 8693, 4.2), or lists, as some issuers write."""
    names: list[str] = []
    for claim in _SCOPE_CLAIMS:
        value = claims.get(claim)
        if isinstance(value, str):
            names += value.split()
        elif isinstance(value, list):
            names += [one for one in value if isinstance(one, str)]
    return known_scopes(names)
