"""Admits the requests of the HTTP service: who calls, whether they may do it, and whether they call too often."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry

from connectors.errors import UnavailableError
from connectors.postgres_pool import PostgresPool
from connectors.redis import RedisClient
from streams.access.caller import ANYBODY, Caller
from streams.access.errors import AccessError, ForbiddenError, Refusal, UnauthenticatedError
from streams.access.jwks import Jwks
from streams.access.keys import PREFIX, parse_key
from streams.access.limits import Limiter
from streams.access.metrics import AccessMetrics
from streams.access.oidc import OidcVerifier
from streams.access.scopes import Scope
from streams.access.verifier import KeyVerifier
from streams.errors import SettingsError
from streams.process.listening import is_loopback
from streams.settings import Settings

logger = logging.getLogger(__name__)

_MAX_HEADER_CHARS = 20_000


class Access:
    """The door of the HTTP service.

    Authentication is required if an issuer is configured, or if there is an API key in Postgres, be it revoked or
    expired. Without both, the service runs open on a loopback address, or if `EMOSTREAM_API_ALLOW_OPEN` is set. On any
    other address it refuses to start. A key that is added while it runs open is required from then on, within seconds.
    While nobody knows whether there are keys, because Postgres has not answered yet, no request is admitted.
    """

    def __init__(
        self,
        settings: Settings,
        redis: RedisClient,
        registry: CollectorRegistry | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the door.

        Args:
            settings: All settings.
            redis: The client that counts requests, which stays open.
            registry: Where the metrics are registered.
            clock: Seconds of a clock that never goes back.
        """
        self._settings = settings
        self._may_be_open = settings.api_allow_open or is_loopback(settings.api_host)
        self._metrics = AccessMetrics(registry or CollectorRegistry())
        dsn = settings.api_postgres_dsn or settings.postgres_dsn
        self._pool = PostgresPool(
            dsn.get_secret_value(), application_name="emostream-api-keys", max_size=1, timeout_s=3
        )
        self._keys = KeyVerifier(self._pool, self._metrics, clock=clock)
        self._limiter = Limiter(redis, self._metrics, prefix=settings.redis_prefix, clock=clock)
        self._jwks: Jwks | None = None
        self._tokens: OidcVerifier | None = None
        if settings.oidc_issuer is not None and settings.oidc_audience is not None:
            self._jwks = Jwks(settings.oidc_issuer, settings.oidc_jwks_url, self._metrics, clock=clock)
            self._tokens = OidcVerifier(
                self._jwks, issuer=settings.oidc_issuer, audience=settings.oidc_audience, clock=clock
            )

    @property
    def required(self) -> bool:
        """Whether requests need credentials. True while nobody knows whether there are keys."""
        return self._tokens is not None or self._keys.any_keys is not False or not self._may_be_open

    async def start(self) -> None:
        """Read the keys. If Postgres or the issuer does not answer, requests are unavailable until it does.

        Raises:
            SettingsError: The service would be open on an address that is not loopback.
            RejectedError: Postgres rejected the login, or has no table of keys.
        """
        await self._pool.open()
        try:
            await self._keys.start()
            if self._jwks is not None:
                await self._jwks.start()
            self._check_open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Store when keys were last used, and close the connections."""
        await self._keys.close()
        if self._jwks is not None:
            await self._jwks.close()
        await self._pool.close()

    def _check_open(self) -> None:
        if self._tokens is not None or self._keys.any_keys is not False:
            return
        if not self._may_be_open:
            raise SettingsError(
                [
                    f"EMOSTREAM_API_HOST={self._settings.api_host} is not a loopback address, and there is no "
                    "authentication: make a key with `emostream keys add`, set EMOSTREAM_OIDC_ISSUER, or set "
                    "EMOSTREAM_API_ALLOW_OPEN=true"
                ]
            )
        logger.warning("the HTTP service runs open: there is neither an API key nor an OIDC issuer")

    async def check(self) -> None:
        """Check that callers can be admitted now.

        Raises:
            UnavailableError: Nobody knows whether there are keys, because Postgres has not answered yet.
        """
        if self._tokens is None:
            await self._keys.refresh()
            if self._keys.any_keys is None:
                raise self._keys.unavailable()

    async def admit(self, authorization: str | None, x_api_key: str | None, scope: Scope) -> Caller:
        """Returns who sends a request, which counts against the caller's limit.

        Args:
            authorization: The header `Authorization`: a bearer token, or an API key as one.
            x_api_key: The header `X-API-Key`.
            scope: What the request needs.

        Raises:
            UnauthenticatedError: The credentials are missing or not valid.
            ForbiddenError: The caller lacks the scope.
            RateLimitedError: The caller has sent as many requests as it may.
            UnavailableError: Nobody knows now whether the credentials are valid.
        """
        try:
            return await self._admit(authorization, x_api_key, scope)
        except AccessError as exc:
            self._metrics.refused(exc.refusal)
            raise
        except UnavailableError:
            self._metrics.refused(Refusal.UNAVAILABLE)
            raise

    async def still_admits(self, authorization: str | None, x_api_key: str | None, scope: Scope) -> bool:
        """Returns whether a caller that was admitted is still allowed to go on. It counts against no limit.

        If nobody knows now, because Postgres or the issuer does not answer, it is.
        """
        try:
            await self._identify(authorization, x_api_key, scope)
        except AccessError as exc:
            self._metrics.refused(exc.refusal)
            return False
        except UnavailableError:
            return True
        return True

    async def _admit(self, authorization: str | None, x_api_key: str | None, scope: Scope) -> Caller:
        caller = await self._identify(authorization, x_api_key, scope)
        limit = caller.requests_per_minute
        if limit is None:
            limit = self._settings.api_requests_per_minute
        return replace(caller, rate=await self._limiter.take(caller.id, limit)) if limit else caller

    async def _identify(self, authorization: str | None, x_api_key: str | None, scope: Scope) -> Caller:
        if self._tokens is None:
            await self._keys.refresh()  # tells whether the service is still open
            if self._keys.any_keys is None:
                raise self._keys.unavailable()
        if not self.required:
            return ANYBODY
        caller = await self._verify(_credentials(authorization, x_api_key))
        if scope not in caller.scopes:
            raise ForbiddenError(scope)
        return caller

    async def _verify(self, credentials: str) -> Caller:
        if credentials.startswith(PREFIX):
            given = parse_key(credentials)
            if given is None:
                raise UnauthenticatedError(Refusal.MALFORMED)
            return await self._keys.verify(given)
        if self._tokens is None:
            raise UnauthenticatedError(Refusal.MALFORMED)
        return await self._tokens.verify(credentials)


def _credentials(authorization: str | None, x_api_key: str | None) -> str:
    """Returns the key or the token of a request.

    Two of them in one request are refused, because the service would have to guess which one is meant.
    """
    if not authorization and not x_api_key:
        raise UnauthenticatedError(Refusal.MISSING)
    if authorization and x_api_key:
        raise UnauthenticatedError(Refusal.MALFORMED)
    if x_api_key:
        if not x_api_key.startswith(PREFIX):
            raise UnauthenticatedError(Refusal.MALFORMED)
        return x_api_key
    scheme, _, credentials = (authorization or "")[:_MAX_HEADER_CHARS].partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError(Refusal.MALFORMED)
    return credentials.strip()
