"""Keywords with characters that mean something to other programs: each is itself in windows, API and Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import psycopg

from streams.ops.demo.processes import Role
from streams.records import rfc3339
from streams.settings import Settings
from tests.integration.api_support import address_of
from tests.integration.support import post, produce, records, wait_for

KEYWORDS = (
    "a|b",
    "[sale]",
    "foo*",
    "what?",
    "back\\slash",
    "60|1772366400000|x",
    "naïve café",
    "%2F..%2F",
    "C++",
    "'; DROP TABLE posts --",
    "{hash}tag",
    "a b",
    "a+b",
    "a%20b",
    "好用",
)
LOOKALIKES = ("foo", "foobar", "s", "a", "whatx", "../", "C", "cafe", "naive cafe")
"""Keywords that a pattern or a wrong decoding would take for one of the others."""


def test_each_keyword_is_its_own_from_the_raw_post_to_the_answer(
    start: Callable[..., Role], settings: Settings
) -> None:
    worker, sink, service = start("worker"), start("sink"), start("api", EMOSTREAM_API_PORT="0")
    moment = datetime.now(UTC) - timedelta(minutes=2)
    text = "what a lovely day, I am so happy"
    # The keyword at position n has n + 1 posts, so that no two can be taken for each other.
    values = [
        post(text, id=f"{number}-{copy}", keywords=[keyword], created_at=rfc3339(moment))
        for number, keyword in enumerate(KEYWORDS + LOOKALIKES)
        for copy in range(number + 1)
    ]
    produce(settings, [*values, post(text, id="star", keywords=["*"], created_at=rfc3339(moment))])
    expected = {keyword: number + 1 for number, keyword in enumerate(KEYWORDS + LOOKALIKES)}
    total = len(values)

    with httpx.Client(base_url=address_of(service), timeout=60) as http:

        def counted() -> int:
            for role in worker, sink, service:
                role.check()
            found = http.get("/v1/windows/*", params={"size": 60}).json()["windows"]
            return sum(window["count"] for window in found)

        wait_for(lambda: counted() == total, what=lambda: f"{counted()} of {total} posts are counted")
        for keyword, count in expected.items():
            windows = http.get(f"/v1/windows/{quote(keyword, safe='')}", params={"size": 60}).json()["windows"]
            assert {(one["keyword"], one["count"]) for one in windows} == {(keyword, count)}
            answer = http.post("/v1/query", json={"keyword": keyword}).json()
            assert (answer["keyword"], answer["count"], answer["source"]) == (keyword, count, "windows")
        for keyword, count in expected.items():  # no key of the cache is that of two keywords
            answer = http.post("/v1/query", json={"keyword": keyword}).json()
            assert (answer["keyword"], answer["count"], answer["source"]) == (keyword, count, "cache")
        assert http.post("/v1/query", json={"keyword": "*"}).json()["count"] == total
        top = {
            one["keyword"]: one["count"] for one in http.get("/v1/keywords", params={"limit": 100}).json()["keywords"]
        }
        assert top == {**expected, "*": total}

        def stored() -> int:
            with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
                return len(connection.execute("SELECT 1 FROM posts").fetchall())

        wait_for(lambda: stored() == total, what=lambda: f"{stored()} of {total} posts are stored")
        for keyword, count in expected.items():
            posts = http.get("/v1/posts", params={"keyword": keyword, "limit": 100}).json()["posts"]
            assert len(posts) == count
            assert {tuple(one["keywords"]) for one in posts} == {(keyword,)}

        def windows_stored() -> dict[str, int]:
            with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
                rows = connection.execute(
                    "SELECT keyword, sum(posts) FROM emotion_windows WHERE size_s = 60 AND keyword <> '*' "
                    "GROUP BY keyword"
                )
                return {str(keyword): int(posts) for keyword, posts in rows}

        # The sink reads the windows from a topic of their own, so they may come after the posts.
        wait_for(lambda: windows_stored() == expected, what=lambda: f"windows stored: {windows_stored()}")

    # `*` stands for all posts, so no post may have it.
    dead = [json.loads(value) for _, _, value in records(settings, settings.topic_dead)]
    assert len(dead) == 1
