"""The HTTP service reads and changes the keywords that sources search posts for."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import httpx

from streams.ingest.keywords.store import read_keywords
from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.api_support import assert_problem, client_of


def followed(client: httpx.Client) -> list[str]:
    return [one["keyword"] for one in client.get("/v1/followed").raise_for_status().json()["keywords"]]


def test_keywords_are_followed_and_no_longer_followed(start: Callable[..., Role], settings: Settings) -> None:
    with client_of(start("api", EMOSTREAM_API_PORT="0")) as client:
        assert followed(client) == []
        first = client.post("/v1/followed", json={"keyword": " Galaxy\u200b  S24 "}).raise_for_status()
        assert first.json() == {"keyword": "Galaxy S24", "is_new": True, "total": 1}
        # Case makes no difference; the first spelling stays.
        again = client.post("/v1/followed", json={"keyword": "GALAXY s24"}).raise_for_status()
        assert again.json() == {"keyword": "Galaxy S24", "is_new": False, "total": 1}
        client.post("/v1/followed", json={"keyword": "a/b?c#d"}).raise_for_status()
        assert followed(client) == ["a/b?c#d", "Galaxy S24"]
        assert sorted(read_keywords(settings).by_fold) == ["a/b?c#d", "galaxy s24"]

        ended = client.delete("/v1/followed/a%2Fb%3Fc%23d").raise_for_status()
        assert ended.json() == {"keyword": "a/b?c#d", "total": 1}
        assert_problem(client.delete("/v1/followed/galaxy"), HTTPStatus.NOT_FOUND, "did you mean 'Galaxy S24'?")
        assert followed(client) == ["Galaxy S24"]
        for keyword in "*", "\u200b", "\u0301x":
            assert_problem(client.post("/v1/followed", json={"keyword": keyword}), HTTPStatus.UNPROCESSABLE_ENTITY, "")
        # A page of another origin can send this type without asking the service first.
        answer = client.post("/v1/followed", content='{"keyword": "spam"}', headers={"Content-Type": "text/plain"})
        assert_problem(answer, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json")
        assert followed(client) == ["Galaxy S24"]
