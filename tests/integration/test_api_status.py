"""The state of the application, as the HTTP service reads it from real servers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from api.client import Client
from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.api_support import address_of
from tests.integration.support import free_port, good_posts, produce, wait_for

POSTS = 200
BAD = 3


def test_figures_of_a_running_system(start: Callable[..., Role], settings: Settings) -> None:
    begin = datetime.now(UTC)
    port = free_port()
    service = start("api", EMOSTREAM_API_PORT="0", EMOSTREAM_API_SINK_URL=f"http://127.0.0.1:{port}")
    produce(settings, [*good_posts(POSTS), *[b"no post"] * BAD])
    address = address_of(service)
    with Client(address) as client:
        found = client.status()
        # Nothing runs yet but the service.
        assert (found.lag.classify, found.dead.total, found.sink.posts) == (POSTS + BAD, 0, 0)
        assert (found.posts.newest_event, found.posts.delay_s, found.posts.per_second) == (None, None, 0)
        assert found.gate.is_open is None
        assert found.gate.problem is not None
        assert "Connection refused" in found.gate.problem

        worker = start("worker")

        def counted() -> bool:
            nonlocal found
            worker.check()
            found = client.status()
            return (found.lag.classify, found.lag.aggregate, found.dead.total) == (0, 0, BAD)

        wait_for(counted, what=lambda: f"the worker counts all posts: {found}")
        assert found.dead.last_hour == BAD
        assert found.sink.posts == POSTS
        assert found.posts.newest_event is not None
        assert found.posts.newest_classified is not None
        assert begin <= found.posts.newest_classified <= datetime.now(UTC)
        assert found.posts.delay_s is not None
        # All of the lag was within the seconds of the rates, or they are over on a slow machine.
        assert found.posts.per_second in {0, *(posts / 10 for posts in range(POSTS + 1))}

        sink = start("sink", EMOSTREAM_SINK_WEB_PORT=str(port))

        def written() -> bool:
            nonlocal found
            sink.check()
            found = client.status()
            return found.sink.posts == 0 and found.gate.problem is None

        wait_for(written, what=lambda: f"the sink writes all posts: {found}")
        assert (found.gate.is_open, found.gate.reason) == (True, "forced")
        assert found.sink.windows is not None
        assert [one.name for one in found.models] == [client.model().models[0].name]
        assert (found.windows[0].size, found.windows[0].kept_s) == (60, 172_800)
    plain: Any = httpx.get(f"{address}/v1/status", timeout=60)
    assert plain.headers["cache-control"] == "no-store"
    assert plain.json()["posts"]["problem"] is None
