"""Who is admitted to the HTTP service, with real Postgres and Redis, also while they are away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from connectors.errors import RejectedError, UnavailableError
from connectors.redis import RedisClient
from streams.access import keys_sql
from streams.access.access import Access
from streams.access.caller import ANYBODY, Caller
from streams.access.errors import ForbiddenError, RateLimitedError, Refusal, UnauthenticatedError
from streams.access.keys import GivenKey, new_key
from streams.access.manage import add_key, revoke_key
from streams.access.refresher import PAUSE_S
from streams.access.scopes import Scope
from streams.access.verifier import KEEP_S, RECHECK_S, REFRESH_S, STALE_S
from streams.errors import SettingsError
from streams.settings import Settings
from tests.integration.access_support import (
    Clock,
    access_env,
    access_settings,
    ask,
    clock,
    execute,
    later,
    link,
    opened,
    redis,
)
from tests.integration.bi_support import database, dsn
from tests.integration.link_proxy import LinkProxy
from tests.oidc_issuer import AUDIENCE, Issuer

__all__ = ["access_env", "access_settings", "clock", "database", "dsn", "link", "opened", "redis"]  # fixtures

Open = Callable[..., Awaitable[Access]]
ONE_MESSAGE = "a valid API key or bearer token is needed"


async def make(settings: Settings, *scopes: Scope, limit: int | None = None) -> GivenKey:
    given, _ = await asyncio.to_thread(
        add_key, settings, "tests", scopes=scopes or list(Scope), requests_per_minute=limit, expires_at=None
    )
    return given


async def refusal(access: Access, key: GivenKey | str | None) -> Refusal:
    with pytest.raises(UnauthenticatedError) as caught:
        await ask(access, key)
    assert str(caught.value) == ONE_MESSAGE
    return caught.value.refusal


async def asked_until_answered(access: Access, key: GivenKey | None, clock: Clock) -> Caller:
    while True:
        try:
            return await ask(access, key)
        except (UnavailableError, UnauthenticatedError):
            await asyncio.sleep(0.02)
            clock.now += PAUSE_S


async def test_a_service_without_keys_is_open_until_there_is_one(
    access_settings: Settings, opened: Open, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    access = await opened()
    assert "the HTTP service runs open" in caplog.text
    assert not access.required
    assert await ask(access, None) is ANYBODY
    key = await make(access_settings)
    await later(access, clock)
    assert await refusal(access, None) is Refusal.MISSING
    assert access.required
    assert (await ask(access, key)).id == key.id
    # A service whose last key was revoked does not open again.
    await asyncio.to_thread(revoke_key, access_settings, key.id)
    await later(access, clock)
    assert await refusal(access, key) is Refusal.REVOKED
    assert await refusal(access, None) is Refusal.MISSING
    assert (await opened()).required


async def test_a_key_is_admitted_in_either_header_for_its_scopes(access_settings: Settings, opened: Open) -> None:
    key = await make(access_settings, Scope.QUERY, Scope.LIVE)
    access, text = await opened(), key.reveal()
    for authorization, x_api_key in ((f"Bearer {text}", None), (f"bearer  {text} ", ""), (None, text), ("", text)):
        caller = await access.admit(authorization, x_api_key, Scope.QUERY)
        assert (caller.id, caller.name, caller.scopes) == (key.id, "tests", {Scope.QUERY, Scope.LIVE})
    with pytest.raises(ForbiddenError, match="do not have the scope predict") as caught:
        await ask(access, key, Scope.PREDICT)
    assert caught.value.scope is Scope.PREDICT


async def test_credentials_that_are_refused(access_settings: Settings, opened: Open, dsn: str, clock: Clock) -> None:
    key = await make(access_settings)
    access, text = await opened(), key.reveal()
    stranger = new_key()
    assert await refusal(access, None) is Refusal.MISSING
    assert await refusal(access, stranger) is Refusal.UNKNOWN
    assert await refusal(access, GivenKey(key.id, stranger.secret)) is Refusal.MALFORMED  # its checksum is another
    assert await refusal(access, text[:-1]) is Refusal.MALFORMED
    assert await refusal(access, "") is Refusal.MALFORMED
    assert await refusal(access, "e30.e30.e30") is Refusal.MALFORMED  # there is no issuer
    for authorization, x_api_key in ((f"Basic {text}", None), (text, None), (f"Bearer {text}", text), (None, "x")):
        with pytest.raises(UnauthenticatedError, match=ONE_MESSAGE) as caught:
            await access.admit(authorization, x_api_key, Scope.READ)
        assert caught.value.refusal is Refusal.MALFORMED
    execute(dsn, "UPDATE api_keys SET expires_at = now()")
    await later(access, clock)
    assert await refusal(access, key) is Refusal.EXPIRED
    # The right id with the secret of another key, whose checksum is right.
    execute(dsn, "UPDATE api_keys SET expires_at = NULL, secret_sha256 = sha256('other')")
    await later(access, clock)
    assert await refusal(access, key) is Refusal.UNKNOWN


async def test_requests_cost_no_round_trip_and_a_revoked_key_stops_within_seconds(
    access_settings: Settings, opened: Open, clock: Clock, link: LinkProxy
) -> None:
    key, access = await make(access_settings), await opened()
    link.cut()
    clock.now += REFRESH_S - 0.1
    for _ in range(100):
        await ask(access, key)
    link.restore()
    await asyncio.to_thread(revoke_key, access_settings, key.id)
    await later(access, clock, STALE_S)
    assert await refusal(access, key) is Refusal.REVOKED


async def test_an_open_stream_is_not_admitted_any_more_once_its_key_is_revoked(
    access_settings: Settings, opened: Open, clock: Clock, link: LinkProxy
) -> None:
    key, access = await make(access_settings, Scope.LIVE, limit=1), await opened()
    text = key.reveal()
    for _ in range(3):  # above the limit of the key
        assert await access.still_admits(None, text, Scope.LIVE)
    assert not await access.still_admits(None, text, Scope.READ)
    link.cut()
    clock.now += STALE_S + 0.1
    assert await access.still_admits(None, text, Scope.LIVE)  # streams outlive an outage of Postgres
    link.restore()
    await asyncio.to_thread(revoke_key, access_settings, key.id)
    async with asyncio.timeout(60):  # the connections to Postgres come back by themselves
        while await access.still_admits(None, text, Scope.LIVE):
            clock.now += STALE_S + 0.1
            await asyncio.sleep(0.05)


async def test_a_new_key_works_within_a_second_and_guesses_cost_few_queries(
    access_settings: Settings, opened: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(access_settings)
    access = await opened()
    new = await make(access_settings)
    clock.now += RECHECK_S + 0.1
    assert (await asked_until_answered(access, new, clock)).id == new.id
    asked = []
    original = keys_sql.fingerprint
    monkeypatch.setattr(keys_sql, "fingerprint", lambda connection: (asked.append(1), original(connection))[1])
    for _ in range(60):
        await later(access, clock, RECHECK_S / 20)
        assert await refusal(access, new_key()) is Refusal.UNKNOWN
    assert 1 <= len(asked) <= 4


async def test_known_keys_work_for_an_hour_while_postgres_is_away(
    access_settings: Settings, opened: Open, clock: Clock, link: LinkProxy, caplog: pytest.LogCaptureFixture
) -> None:
    key, access = await make(access_settings), await opened()
    link.cut()
    clock.now += STALE_S + 1
    for _ in range(3):
        assert (await ask(access, key)).id == key.id
        await later(access, clock, PAUSE_S + 1)
    with pytest.raises(UnavailableError, match=r"API keys cannot be checked now: PostgreSQL .*refused"):
        await ask(access, new_key())
    assert len([one for one in caplog.records if "cannot be read" in one.message]) == 1
    clock.now += KEEP_S
    with pytest.raises(UnavailableError):
        await ask(access, key)
    assert access.required
    link.restore()
    assert (await asked_until_answered(access, key, clock)).id == key.id
    assert await refusal(access, new_key()) is Refusal.UNKNOWN


async def test_a_paused_postgres_does_not_hold_known_keys_up(
    access_settings: Settings, opened: Open, clock: Clock, link: LinkProxy
) -> None:
    key, access = await make(access_settings), await opened()
    link.stall()
    clock.now += STALE_S + 1
    assert (await asyncio.wait_for(ask(access, key), 60)).id == key.id  # waited for a moment
    begin = asyncio.get_running_loop().time()
    for _ in range(200):
        assert (await ask(access, key)).id == key.id
    assert asyncio.get_running_loop().time() - begin < 60
    with pytest.raises(UnavailableError):
        await ask(access, new_key())
    link.restore()


async def test_a_service_that_starts_without_postgres_admits_nobody(
    access_settings: Settings, opened: Open, clock: Clock, link: LinkProxy
) -> None:
    link.cut()
    access = await opened(EMOSTREAM_API_ALLOW_OPEN="true")
    assert access.required
    for key in (None, new_key()):
        with pytest.raises(UnavailableError, match="refused"):
            await ask(access, key)
    link.restore()
    assert await asked_until_answered(access, None, clock) is ANYBODY


async def test_the_last_day_of_use_is_stored_once_a_day(
    access_settings: Settings, opened: Open, dsn: str, clock: Clock
) -> None:
    key, access = await make(access_settings), await opened()
    today = datetime.now(UTC).date()
    for _ in range(3):
        await ask(access, key)
        await later(access, clock)
    stored = "SELECT last_used_on FROM api_keys"
    assert execute(dsn, stored) in [[(today,)], [(today + timedelta(days=1),)]]
    execute(dsn, "UPDATE api_keys SET last_used_on = '2026-01-01'")
    await ask(access, key)
    await later(access, clock)
    assert str(execute(dsn, stored)[0][0]) == "2026-01-01"  # this process has stored the day already
    other = await opened()
    await ask(other, key)
    await other.close()
    assert execute(dsn, stored)[0][0] >= today


async def test_limits_of_keys(access_settings: Settings, opened: Open) -> None:
    few, many, default = [await make(access_settings, limit=limit) for limit in (3, 0, None)]
    access = await opened(EMOSTREAM_API_REQUESTS_PER_MINUTE="5")
    for key, limit in ((few, 3), (default, 5)):
        for left in reversed(range(limit)):
            rate = (await ask(access, key)).rate
            assert rate is not None
            assert (rate.limit, rate.remaining) == (limit, left)
        with pytest.raises(RateLimitedError) as caught:
            await ask(access, key)
        assert caught.value.limit == limit
        assert 0 < caught.value.retry_after_s <= 62
    for _ in range(20):
        assert (await ask(access, many)).rate is None
    unlimited = await opened(EMOSTREAM_API_REQUESTS_PER_MINUTE="0")
    assert (await ask(unlimited, default)).rate is None


async def test_tokens_and_keys_may_be_used_side_by_side(access_settings: Settings, opened: Open, clock: Clock) -> None:
    with Issuer() as issuer:
        issuer.add_key("a")
        access = await opened(EMOSTREAM_OIDC_ISSUER=issuer.url, EMOSTREAM_OIDC_AUDIENCE=AUDIENCE)
        assert access.required  # without any key
        assert await refusal(access, None) is Refusal.MISSING
        caller = await ask(access, issuer.token("a"))
        assert caller.name == "ann@example.org"
        assert caller.rate is not None
        assert caller.rate.remaining == 5_999
        with pytest.raises(ForbiddenError):
            await ask(access, issuer.token("a"), Scope.LIVE)
        assert await refusal(access, issuer.token("a", aud="x")) is Refusal.CLAIMS
        key = await make(access_settings)
        assert (await asked_until_answered(access, key, clock)).id == key.id


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_an_open_service_refuses_to_start_on_other_addresses(
    access_settings: Settings, opened: Open, host: str
) -> None:
    with pytest.raises(SettingsError, match=f"EMOSTREAM_API_HOST={host} is not a loopback address"):
        await opened(EMOSTREAM_API_HOST=host)
    assert not (await opened(EMOSTREAM_API_HOST=host, EMOSTREAM_API_ALLOW_OPEN="true")).required
    await make(access_settings)
    assert (await opened(EMOSTREAM_API_HOST=host)).required


async def test_a_service_on_another_address_stays_closed_if_postgres_answers_later(
    opened: Open, clock: Clock, link: LinkProxy
) -> None:
    link.cut()
    access = await opened(EMOSTREAM_API_HOST="0.0.0.0")
    link.restore()
    while access._keys.any_keys is None:
        await later(access, clock)
    assert access._keys.any_keys is False
    assert access.required
    assert await refusal(access, None) is Refusal.MISSING


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "[::1]", "localhost"])
async def test_an_open_service_starts_on_loopback(opened: Open, host: str) -> None:
    assert not (await opened(EMOSTREAM_API_HOST=host)).required


async def test_a_database_without_the_table_is_named(opened: Open, dsn: str) -> None:
    execute(dsn, "DROP TABLE api_keys")
    with pytest.raises(RejectedError, match="has no table of API keys; run `emostream init`"):
        await opened()


async def test_refusals_are_counted_and_nothing_secret_is_logged(
    access_settings: Settings, redis: RedisClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key, stranger = await make(access_settings, Scope.READ, limit=1), new_key()
    registry = CollectorRegistry()
    access = Access(access_settings, redis, registry, clock=clock)
    await access.start()
    shown = [repr(access), repr(await ask(access, key))]
    for given, scope in ((None, Scope.READ), (stranger, Scope.READ), (key, Scope.LIVE), (key, Scope.READ)):
        with pytest.raises((UnauthenticatedError, ForbiddenError, RateLimitedError)) as caught:
            await ask(access, given, scope)
        shown += [str(caught.value), repr(caught.value), repr(vars(caught.value))]
    await access.close()
    for reason in ("missing", "unknown", "scope", "rate"):
        assert registry.get_sample_value("emostream_api_refused_total", {"reason": reason}) == 1
    for one in (key, stranger):
        assert one.secret not in caplog.text + "".join(shown)
        assert one.sha256().hex() not in caplog.text + "".join(shown)
