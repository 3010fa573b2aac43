"""Questions, texts and live streams of the HTTP service, over HTTP, with the servers of the tests."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from itertools import islice

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.client import ApiConnectionError, ApiError, AsyncClient, Client
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.windows.codec import to_window
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey
from tests.integration.api_support import address_of, assert_problem
from tests.integration.test_api_service import KEYWORDS
from tests.integration.window_store_support import START, apply_all, of

ANY_PORT = {"EMOSTREAM_API_PORT": "0"}


async def test_answers_from_the_windows_and_then_from_the_cache(
    start: Callable[..., Role], store: WindowStore, settings: Settings
) -> None:
    now = time.time() - START / 1_000
    posts = [of(number, now, *KEYWORDS, label=label) for number, label in enumerate(["joy", "joy", "anger"])]
    await apply_all(store, posts, len(posts), sizes=settings.window_sizes)
    service = start("api", **ANY_PORT)
    with Client(address_of(service)) as client:
        for keyword in KEYWORDS:
            answer = client.query(keyword)
            assert (answer.keyword, answer.count, answer.source) == (keyword, 3, "windows")
            shares = {row.label: (row.count, row.pct) for row in answer.agg}
            assert shares["joy"] == (2, 66.67)
            assert shares["anger"] == (1, 33.33)
            assert set(shares) == set(client.model().models[0].heads[0].labels)
            again = client.query(keyword)
            assert again.source == "cache"
            assert again.model_copy(update={"source": answer.source, "time": answer.time}) == answer
        unknown = client.query("nobody writes this")
        assert (unknown.count, sum(row.pct for row in unknown.agg)) == (0, 0)
        with_picture = client.query(KEYWORDS[0], return_plot=True)
        assert with_picture.plot_base64 is not None
        assert base64.b64decode(with_picture.plot_base64).startswith(b"\x89PNG")
        drawn = client.query(KEYWORDS[0], return_plot=True, plot_kind="bar", plot_format="svg").plot_base64
        assert drawn is not None
        assert base64.b64decode(drawn).startswith(b"<svg")
        assert client.query("*").count == 3
        assert client.keywords(limit=3).keywords[0].keyword == "*"
        assert client.posts().posts == []


def test_texts_are_classified(start: Callable[..., Role], settings: Settings) -> None:
    service = start("api", **ANY_PORT, EMOSTREAM_API_MAX_TEXTS="3", EMOSTREAM_TEXT_MAX_CHARS="100")
    with Client(address_of(service)) as client:
        happy = client.predict("what a lovely day, I am so happy")
        assert (happy.label, happy.lang) == ("joy", "en")
        batch = client.predict_batch(["what a lovely day, I am so happy", "I am so angry about this"])
        assert batch[0].label == "joy"
        assert batch[1].label == "anger"
        tiers = client.model().models[0].tiers
        for tier in ["auto", *tiers]:
            (analysis,) = client.analyze(["I am so angry about this"], tier=tier)
            assert analysis.dominant_emotion == "anger"
            if tier != "auto":
                assert analysis.prediction.model.tier == tier
        (foreign,) = client.predict_batch(["Heute ist wirklich ein wunderschöner Tag, ich bin sehr glücklich"])
        assert (foreign.label, foreign.lang, foreign.model.tier) == (None, "de", "unsupported")
        with pytest.raises(ApiError, match="no tier 'none'") as refused:
            client.analyze(["x"], tier="none")
        assert refused.value.status == 422
        with pytest.raises(ApiError, match="at most 3"):
            client.predict_batch(["x"] * 4)
        with pytest.raises(ApiError, match="at most 100"):
            client.predict("x" * 101)
    with httpx.Client(base_url=address_of(service)) as http:
        text = json.dumps({"text": "x"})
        assert_problem(http.post("/v1/predict", content=text), 415, "application/json")
        assert_problem(http.post("/v1/predict", json={"text": "x", "more": 1}), 422, "body.more")
        assert_problem(http.post("/v1/predict", json={"text": "a\0b"}), 422, "U+0000")
        assert_problem(http.post("/v1/predict", json={}), 422, "body.text")
        rebound = http.post("/v1/predict", json={"text": "x"}, headers={"Host": "evil.example"})
        assert_problem(rebound, 403, "loopback names")


async def test_a_client_for_asyncio(start: Callable[..., Role], settings: Settings) -> None:
    service = start("api", **ANY_PORT)
    async with AsyncClient(address_of(service)) as client:
        assert (await client.predict("what a lovely day, I am so happy")).label == "joy"
        with pytest.raises(ApiError, match="no audit was made yet"):
            await client.audit()
    service.stop()
    async with AsyncClient("http://127.0.0.1:9") as client:
        with pytest.raises(ApiConnectionError, match="did not answer"):
            await client.model()


def test_a_live_stream_has_the_newest_windows(
    start: Callable[..., Role], settings: Settings, producer: ConfirmedProducer
) -> None:
    service = start("api", **ANY_PORT, EMOSTREAM_API_LIVE_INTERVAL_S="0.1")
    stop = threading.Event()

    def send() -> None:
        """The stream begins with what is new, so windows are sent until it has begun."""
        number = 0
        while not stop.wait(0.1):
            number += 1
            window = to_window(WindowKey("a|b", 60, START), {"n": str(number), "l:joy": str(number), "rev": "1"})
            producer.submit([Outgoing(settings.topic_windows, window.to_json(), window.key.encode(), 0)]).result(60)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        address = address_of(service)
        with Client(address) as client:
            messages = list(islice(client.follow("a|b", "other"), 3))
            counts = [window.count for message in messages for window in message.windows]
            assert counts == sorted(set(counts))
            resumed = next(client.follow("a|b", last_id=messages[0].id))
            assert (resumed.event, len(resumed.windows)) == ("update", 1)
            assert next(client.follow("a|b", last_id="of another process")).event == "gap"
        with (
            httpx.stream("GET", f"{address}/v1/stream", params={"keyword": "a|b"}, timeout=60) as answer,
            connect(f"{address.replace('http', 'ws')}/v1/live?keyword=a%7Cb") as socket,
        ):
            assert json.loads(socket.recv(60))["data"]["windows"][0]["keyword"] == "a|b"
            # The streams end before the process does.
            service._process.terminate()
            assert [line for line in answer.iter_lines() if line.startswith("event:")][-1] == "event: end"
            with pytest.raises(ConnectionClosed) as closed:
                list(socket)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
    finally:
        stop.set()
        sending.join()
    assert service.wait(60) == 0
