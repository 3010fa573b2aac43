"""Bearer tokens of an issuer that speaks HTTP on a socket: which are accepted, and what an absent issuer means."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry

from connectors.errors import UnavailableError
from streams.access.errors import Refusal, UnauthenticatedError
from streams.access.jwks import KEEP_S, MAX_BYTES, RECHECK_S, REFRESH_S, Jwks, SigningKey
from streams.access.metrics import AccessMetrics
from streams.access.oidc import CACHE_S, LEEWAY_S, MAX_TOKEN_CHARS, OidcVerifier
from streams.access.refresher import PAUSE_S
from streams.access.scopes import Scope
from tests.oidc_issuer import AUDIENCE, Issuer, new_private_key


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """An issuer, and a verifier whose clock the test moves."""

    def __init__(self, issuer: Issuer, *, url: str | None = None, timeout_s: float = 10) -> None:
        self.issuer = issuer
        self.clock = Clock()
        self.metrics = AccessMetrics(CollectorRegistry())
        self.jwks = Jwks(issuer.url, url, self.metrics, clock=self.clock, timeout_s=timeout_s)
        self.verifier = OidcVerifier(self.jwks, issuer=issuer.url, audience=AUDIENCE, clock=self.clock)

    async def refusal(self, token: str) -> Refusal:
        with pytest.raises(UnauthenticatedError) as caught:
            await self.verifier.verify(token)
        assert str(caught.value) == "a valid API key or bearer token is needed"
        return caught.value.refusal

    async def eventually(self, token: str) -> None:
        """Verify until the background has fetched the keys."""
        while True:
            try:
                await self.verifier.verify(token)
            except UnavailableError:
                await asyncio.sleep(0.01)
                self.clock.now += PAUSE_S
            else:
                return


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        started.add_key("first", "RS256")
        started.add_key("second", "ES256")
        started.add_key("third", "EdDSA")
        yield started


@pytest.fixture
async def world(issuer: Issuer) -> AsyncIterator[World]:
    made = World(issuer)
    await made.jwks.start()
    yield made
    await made.jwks.close()


@pytest.mark.parametrize("kid", ["first", "second", "third"])
async def test_a_valid_token_tells_who_calls(world: World, kid: str) -> None:
    caller = await world.verifier.verify(world.issuer.token(kid))
    assert caller.name == "ann@example.org"
    assert caller.scopes == {Scope.QUERY, Scope.READ}
    assert caller.id.startswith("oidc-")
    assert "ann" not in caller.id
    assert world.issuer.requests == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None}, set()),
        ({"scope": "query live"}, {Scope.QUERY, Scope.LIVE}),
        ({"scope": None, "scp": ["emostream:predict", 7, "other"]}, {Scope.PREDICT}),
        ({"scope": "", "scp": "read"}, {Scope.READ}),
        ({"scope": "query", "permissions": ["read"]}, {Scope.QUERY, Scope.READ}),
        ({"scope": {"query": True}}, set()),
    ],
)
async def test_scopes(world: World, claims: dict[str, Any], scopes: set[Scope]) -> None:
    assert (await world.verifier.verify(world.issuer.token("second", **claims))).scopes == scopes


async def test_the_same_subject_is_the_same_caller(world: World) -> None:
    one, again, other = [
        await world.verifier.verify(world.issuer.token("second", sub=sub, jti=str(number)))
        for number, sub in enumerate(["a", "a", "b"])
    ]
    assert one.id == again.id != other.id
    client = await world.verifier.verify(world.issuer.token("second", sub=None, client_id="batch"))
    assert client.name == "batch"


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({"aud": "another"}, Refusal.CLAIMS),
        ({"aud": None}, Refusal.CLAIMS),
        ({"iss": "https://issuer.example.com"}, Refusal.CLAIMS),
        ({"iss": None}, Refusal.CLAIMS),
        ({"exp": None}, Refusal.CLAIMS),
        ({"sub": None}, Refusal.CLAIMS),
        ({"sub": 7}, Refusal.CLAIMS),
        ({"exp": int(time.time()) - LEEWAY_S - 2}, Refusal.EXPIRED),
        ({"nbf": int(time.time()) + 3_600}, Refusal.CLAIMS),
    ],
)
async def test_claims_that_are_refused(world: World, claims: dict[str, Any], refusal: Refusal) -> None:
    assert await world.refusal(world.issuer.token("first", **claims)) is refusal


async def test_claims_that_are_accepted(world: World) -> None:
    for claims in (
        {"aud": ["another", AUDIENCE]},
        {"iss": world.issuer.url + "/"},
        {"exp": int(time.time()) - 1},
        {"nbf": int(time.time()) + LEEWAY_S // 2},
    ):
        await world.verifier.verify(world.issuer.token("first", **claims))


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


async def test_algorithms_that_are_refused(world: World) -> None:
    claims = world.issuer.claims()
    none = f"{encoded({'alg': 'none', 'kid': 'first'})}.{encoded(claims)}."
    public = world.issuer.private["first"][0].public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # PyJWT refuses to sign with such a secret, so the token is made by hand.
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signed = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(claims)}"
    forged = f"{signed}.{base64.urlsafe_b64encode(hmac.sign(signed.encode(), secret)).rstrip(b'=').decode()}"
    swapped = jwt.encode(claims, world.issuer.private["second"][0], "ES256", headers={"kid": "first"})
    before = len(world.issuer.requests)
    world.clock.now += RECHECK_S * 2
    assert await world.refusal(none) is Refusal.UNKNOWN
    assert await world.refusal(forged) is Refusal.UNKNOWN
    assert len(world.issuer.requests) == before
    assert await world.refusal(swapped) is Refusal.UNKNOWN
    for odd in (["RS256"], None, 7, {}):
        assert await world.refusal(f"{encoded({'alg': odd})}.{encoded(claims)}.AAAA") in {
            Refusal.UNKNOWN,
            Refusal.MALFORMED,
        }


async def test_a_signature_of_another_key_is_refused(world: World) -> None:
    assert await world.refusal(world.issuer.token("first", named="third")) is Refusal.UNKNOWN
    other = Issuer()
    other.port = world.issuer.port
    other.private["first"] = (new_private_key("RS256"), "RS256")
    assert await world.refusal(other.token("first")) is Refusal.UNKNOWN
    token = world.issuer.token("first")
    head, body, signature = token.split(".")
    changed = encoded({**world.issuer.claims(), "scope": "query live"})
    assert await world.refusal(f"{head}.{changed}.{signature}") is Refusal.UNKNOWN
    assert body != changed


@pytest.mark.parametrize(
    "token", ["", "a", "..", "a.b.c", "é.b.c", "a." * 50, "a.b." + "x" * MAX_TOKEN_CHARS, "e30.e30.", "bnVsbA.e30.YQ"]
)
async def test_other_text_is_no_token(world: World, token: str) -> None:
    assert await world.refusal(token) in {Refusal.MALFORMED, Refusal.UNKNOWN}


async def test_a_token_without_a_key_id_is_checked_with_the_only_key_of_its_algorithm(world: World) -> None:
    key, algorithm = world.issuer.private["second"]
    token = jwt.encode(world.issuer.claims(), key, algorithm)
    await world.verifier.verify(token)
    world.issuer.add_key("fourth", algorithm)
    world.clock.now += RECHECK_S * 2
    await world.verifier.verify(world.issuer.token("fourth"))
    assert await world.refusal(token) is Refusal.UNKNOWN


async def test_rotated_keys_are_fetched_when_a_token_names_one(world: World) -> None:
    old = world.issuer.token("first")
    await world.verifier.verify(old)
    del world.issuer.private["first"]
    world.issuer.add_key("new", "RS256")
    new = world.issuer.token("new")
    world.clock.now += RECHECK_S + 1
    assert (await world.verifier.verify(new)).name == "ann@example.org"
    assert await world.refusal(old) is Refusal.UNKNOWN  # the key is gone, and the result of before with it


async def test_invented_key_ids_do_not_reach_the_issuer(world: World) -> None:
    before = len(world.issuer.requests)
    for number in range(50):
        world.clock.now += RECHECK_S / 20
        assert await world.refusal(world.issuer.token("first", named=f"k{number}")) is Refusal.UNKNOWN
    assert len(world.issuer.requests) - before <= 3 * 2


async def test_keys_serve_while_the_issuer_is_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    token = world.issuer.token("first")
    await world.verifier.verify(token)
    world.issuer.stop()
    world.clock.now += REFRESH_S + 1
    for _ in range(3):
        assert (await world.verifier.verify(world.issuer.token("first"))).name == "ann@example.org"
    with pytest.raises(UnavailableError, match=rf"tokens of {world.issuer.url} cannot be checked now: .*/openid-conf"):
        await world.verifier.verify(world.issuer.token("first", named="unknown"))
    assert world.metrics.issuer_failures._value.get() >= 1
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    world.clock.now += KEEP_S
    with pytest.raises(UnavailableError):
        await world.verifier.verify(token)
    world.issuer.start()
    await world.eventually(token)


async def test_an_issuer_that_was_never_reached_makes_tokens_unavailable(issuer: Issuer) -> None:
    issuer.stop()
    world = World(issuer)
    await world.jwks.start()
    try:
        with pytest.raises(UnavailableError, match="did not answer"):
            await world.verifier.verify(issuer.token("first"))
        issuer.start()
        await world.eventually(issuer.token("first"))
    finally:
        await world.jwks.close()


@pytest.mark.parametrize(
    ("path", "answer", "why"),
    [
        ("/keys", (500, b""), "answered with 500"),
        ("/keys", (302, b""), "answered with 302"),
        ("/keys", (200, b"x" * (MAX_BYTES + 1)), "more than 1,048,576 bytes"),
        ("/keys", (200, b"<html>"), "did not answer with JSON"),
        ("/keys", (200, b"[]"), "JSON object"),
        ("/keys", (200, b'{"keys": 1}'), "no list of keys"),
        ("/keys", (200, b'{"keys": [null, {}, {"kty": "oct", "k": "YQ"}]}'), "has no key for signatures"),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "https://x"}'), "that of another issuer"),
        ("/.well-known/openid-configuration", (404, b""), "answered with 404"),
    ],
)
async def test_faults_of_an_issuer(issuer: Issuer, path: str, answer: tuple[int, bytes], why: str) -> None:
    issuer.answers[path] = answer
    world = World(issuer)
    await world.jwks.start()
    try:
        with pytest.raises(UnavailableError, match=why):
            await world.verifier.verify(issuer.token("first"))
    finally:
        await world.jwks.close()


async def test_a_key_set_may_have_its_own_address(issuer: Issuer) -> None:
    world = World(issuer, url=f"{issuer.url}/elsewhere")
    await world.jwks.start()
    await world.verifier.verify(issuer.token("third"))
    assert issuer.requests == ["/elsewhere"]
    await world.jwks.close()


async def test_a_token_is_checked_again_after_a_while(world: World) -> None:
    token = world.issuer.token("first", exp=int(time.time()) - LEEWAY_S + 5)
    await world.verifier.verify(token)
    world.clock.now += 6  # the clock of the cache; the token is expired by then
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("not from the cache"))
        with pytest.raises(pytest.fail.Exception):
            await world.verifier.verify(token)
        world.clock.now -= 6
        await world.verifier.verify(token)
    assert CACHE_S <= 60


def test_keys_that_are_not_accepted(issuer: Issuer) -> None:
    good = issuer.jwk("first")
    assert SigningKey(good).algorithms == ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    assert SigningKey({**good, "alg": "PS256"}).algorithms == ("PS256",)
    weak = rsa.generate_private_key(public_exponent=65_537, key_size=1_024).public_key()
    for bad in (
        {**good, "use": "enc"},
        {**good, "alg": "HS256"},
        {**good, "alg": "RSA-OAEP"},
        {**good, "n": 7},
        {**good, "kty": "oct", "k": "c2VjcmV0"},
        {key: value for key, value in good.items() if key != "e"},
        {**issuer.jwk("second"), "crv": "secp256k1"},
        {**issuer.jwk("second"), "x": "AAAA"},
        {**issuer.jwk("third"), "crv": "X25519"},
        jwt.algorithms.RSAAlgorithm.to_jwk(weak, as_dict=True),
        jwt.algorithms.RSAAlgorithm.to_jwk(issuer.private["first"][0], as_dict=True),  # type: ignore[arg-type]
        {},
    ):
        with pytest.raises(ValueError, match=r"key|algorithm"):
            SigningKey(bad)


async def test_tokens_are_neither_logged_nor_shown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = world.issuer.token("first")
    caller = await world.verifier.verify(token)
    bad = world.issuer.token("first", aud="x")
    with pytest.raises(UnauthenticatedError) as caught:
        await world.verifier.verify(bad)
    for secret in (token, bad):
        assert secret not in caplog.text
        assert secret.split(".")[2] not in repr((caller, caught.value, caught.value.__dict__))
