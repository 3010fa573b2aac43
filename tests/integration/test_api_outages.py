"""The HTTP service while its servers are away: stopped, killed or paused, while it runs and when it starts."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.local import LocalStack
from streams.connections import kafka_config
from streams.ops.demo.processes import Role
from streams.ops.init import init_model
from streams.records import from_ms
from streams.settings import Settings
from streams.windows.codec import to_window
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey
from tests.integration.answer_support import HOUR, START, count, expire, post, sink
from tests.integration.api_support import address_of, assert_problem
from tests.integration.own_servers import endpoints
from tests.integration.support import TIMEOUT_S, wait_for

__all__ = ["endpoints"]  # a fixture

QUICK = {"EMOSTREAM_API_PORT": "0", "EMOSTREAM_QUERY_DEADLINE_S": "5", "EMOSTREAM_QUERY_FRESH_S": "2"}
LIVE = {**QUICK, "EMOSTREAM_API_LIVE_INTERVAL_S": "0.1", "EMOSTREAM_MODEL_POLL_S": "1"}
BOUND_S = 30.0
"""Seconds in which every answer comes, whatever is away. An answer takes 5, and the machine of the tests is slow."""

REDIS_AWAY = "Redis did not answer, so the posts are counted from the history"
POSTGRES_AWAY = "Postgres did not answer, so the posts that were created before"
STOPS = [signal.SIGKILL, signal.SIGSTOP]


class Asking:
    """A client that asks about one keyword, and checks that every answer comes in time and is no defect."""

    def __init__(self, service: Role, now_ms: int) -> None:
        self.http = httpx.Client(base_url=address_of(service), timeout=BOUND_S)
        self._now_ms = now_ms

    def ask(self, hours: int) -> httpx.Response:
        """Ask about the last hours."""
        since = from_ms(self._now_ms - hours * HOUR).rfc3339()
        answer = self.http.post("/v1/query", json={"keyword": "tea", "since": since, "limit": 1})
        assert answer.status_code in {200, 503}, answer.text
        return answer

    def answer(self, hours: int) -> tuple[str, int, bool, str]:
        """Returns source, count, whether it is complete, and the notes of an answer."""
        found = self.ask(hours).json()
        if "source" not in found:
            return "none", 0, False, found["detail"]
        return found["source"], found["count"], found["complete"], " ".join(found["notes"])

    def until(self, hours: int, count: int, source: str | None = None) -> None:
        """Ask until the answer is complete and has so many posts, and comes from a source."""
        last: list[tuple[str, int, bool, str]] = []

        def as_expected() -> bool:
            last[:] = [self.answer(hours)]
            return last[0][1:3] == (count, True) and source in {None, last[0][0]}

        wait_for(as_expected, what=lambda: f"{count} posts, complete, from {source}: {last}")

    def health(self) -> tuple[str, dict[str, tuple[bool, str | None]]]:
        """Returns the status, and for each part whether it is ok, and why not. A part that hangs takes two seconds."""
        found = self.http.get("/health/ready").json()
        return found["status"], {part["name"]: (part["ok"], part["reason"]) for part in found["parts"]}

    def status(self) -> str:
        return self.health()[0]

    def predicts(self) -> bool:
        answer = self.http.post("/v1/predict", json={"text": "what a lovely day, I am so happy"})
        return str(answer.json()["label"]) == "joy"


@pytest.fixture(autouse=True)
def running(own_stack: LocalStack, settings: Settings) -> Iterator[None]:
    """Starts what a test has stopped, before the test's database is dropped."""
    yield
    own_stack.up()


@pytest.fixture
async def now_ms(settings: Settings, store: WindowStore) -> int:
    """Counts a post in each of 20 hours. The tables have the last ten, and a newer post that the history lacks."""
    now = time.time_ns() // 1_000_000
    hours = range(20, 0, -1)
    await count(store, settings, [post(20 - hour, now - hour * HOUR, "tea") for hour in hours])
    await sink(store, settings)
    await expire(store, now - 10 * HOUR)
    await count(store, settings, [post(20, now, "tea", label="fear")])
    return now


@pytest.fixture
def asks(now_ms: int) -> Iterator[Callable[[Role], Asking]]:
    """Makes a client of a service."""
    with ExitStack() as opened:

        def ask(service: Role) -> Asking:
            found = Asking(service, now_ms)
            opened.enter_context(found.http)
            return found

        yield ask


class Following:
    """A client of a live stream, and a program that writes windows for it."""

    def __init__(self, asking: Asking, settings: Settings) -> None:
        self.events: list[str] = []
        self._address = str(asking.http.base_url)
        self._settings = settings
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        self._revision = 0

    def _follow(self) -> None:
        with httpx.stream("GET", f"{self._address}/v1/stream?keyword=tea", timeout=TIMEOUT_S) as answer:
            self.events.extend(line[7:] for line in answer.iter_lines() if line.startswith("event: "))

    def write_until(self, *names: str) -> None:
        """Write windows until the client has got events with these names, and forget them."""
        producer = ConfirmedProducer(kafka_config(self._settings), client_id="test")

        def written() -> bool:
            self._revision += 1
            window = to_window(WindowKey("tea", 60, START), {"n": "1", "rev": str(self._revision)})
            record = Outgoing(self._settings.topic_windows, window.to_json(), window.key.encode(), 0)
            producer.submit([record]).result(TIMEOUT_S)
            return set(names) <= set(self.events)

        try:
            wait_for(written, what=lambda: f"{names}: {self.events}")
        finally:
            producer.close()
        self.events.clear()

    def wait(self) -> None:
        """Wait until the service has ended the stream."""
        self._thread.join(TIMEOUT_S)
        assert self.events[-1] == "end"


@contextmanager
def away(stack: LocalStack, *names: str, by: signal.Signals = signal.SIGKILL) -> Iterator[None]:
    """Kill or pause servers, and bring them back."""
    for name in names:
        stack.signal(name, by)
    try:
        yield
    finally:
        for name in names:
            if by == signal.SIGSTOP:
                stack.signal(name, signal.SIGCONT)
            stack.start(name)


@pytest.mark.parametrize("by", STOPS)
def test_queries_while_redis_or_postgres_is_away(
    own_stack: LocalStack, start: Callable[..., Role], asks: Callable[[Role], Asking], by: signal.Signals
) -> None:
    asking = asks(start("api", **QUICK))
    # From 5 hours ago the tables have everything; from 21 hours ago the older half comes from the history.
    source, few, complete, _ = asking.answer(5)
    assert (source, complete) == ("windows", True)
    asking.until(21, 21, "history")
    asking.until(5, few, "cache")
    assert asking.status() == "ready"

    with away(own_stack, "redis", by=by):
        for _ in range(3):
            source, found, complete, notes = asking.answer(5)
            assert (source, found, complete) == ("history", few - 1, False)
            assert REDIS_AWAY in notes
        status, parts = asking.health()
        ok, reason = parts["redis"]
        assert not ok
        assert reason
        assert status == "degraded"
        assert asking.predicts()
        assert_problem(asking.http.get("/v1/windows/tea"), 503, "Redis")
    asking.until(5, few, "cache")
    asking.until(6, few + 1)
    wait_for(lambda: asking.status() == "ready", what="Redis is back, and the service is not ready", seconds=60)

    with away(own_stack, "postgres", by=by):
        # What came from the history before is in the cache, and becomes stale: it is sent until a partial one is there.
        wait_for(lambda: not asking.answer(21)[2], what=lambda: str(asking.answer(21)), seconds=60)
        source, found, complete, notes = asking.answer(21)
        assert source in {"windows", "cache"}
        assert few < found < 21
        assert POSTGRES_AWAY in notes
        assert asking.answer(5)[1:3] == (few, True)
        status, parts = asking.health()
        ok, reason = parts["postgres"]
        assert not ok
        assert reason
        assert status == "degraded"
        assert asking.predicts()
        assert_problem(asking.http.get("/v1/posts"), 503, "PostgreSQL")
    # A partial answer stays in the cache for seconds only.
    asking.until(21, 21)

    with away(own_stack, "redis", "postgres", by=by):
        answer = asking.ask(21)
        assert_problem(answer, 503, "Redis")
        assert "PostgreSQL" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        _, parts = asking.health()
        assert (parts["redis"][0], parts["postgres"][0]) == (False, False)
        assert asking.http.get("/health/live").status_code == 200
        assert asking.predicts()
    asking.until(21, 21)


def test_live_streams_go_on_when_kafka_is_back(
    own_stack: LocalStack, start: Callable[..., Role], settings: Settings, asks: Callable[[Role], Asking]
) -> None:
    service = start("api", **LIVE)
    asking = asks(service)
    following = Following(asking, settings)
    following.write_until("update")
    with away(own_stack, "kafka"):
        assert asking.ask(5).status_code == 200
        assert asking.predicts()
        status, parts = asking.health()
        assert not parts["kafka"][0]
        assert status == "degraded"
        state = asking.http.get("/v1/status").json()
        assert all(state[part]["problem"] for part in ("posts", "lag", "sink", "dead"))
        assert state["models"]
    following.write_until("update")
    # The stream of posts may follow later than that of windows.
    wait_for(lambda: asking.status() == "ready", what=lambda: str(asking.health()))
    wait_for(lambda: asking.http.get("/v1/status").json()["posts"]["problem"] is None, what="/v1/status has figures")
    assert service.stop() == 0
    following.wait()


def test_it_starts_while_servers_are_away_and_says_so(
    own_stack: LocalStack, start: Callable[..., Role], settings: Settings, asks: Callable[[Role], Asking]
) -> None:
    first = start("api", **QUICK)  # has the model in its cache
    address_of(first)
    assert first.stop() == 0

    with away(own_stack, "s3", "redis", "kafka"):
        service = start("api", **LIVE)
        asking = asks(service)
        status, parts = asking.health()
        assert {name for name, (ok, _) in parts.items() if not ok} == {"redis", "kafka", "model store"}
        assert "the last good model of the cache serves" in str(parts["model store"][1])
        assert status == "degraded"
        assert asking.answer(5)[0] == "history"
        assert asking.predicts()
        following = Following(asking, settings)
    init_model(settings, lambda _: None)  # the server of the tests keeps its objects in memory
    # The client was there before Kafka was, so it may have missed something.
    following.write_until("gap", "update")
    wait_for(lambda: asking.answer(6)[2], what="Redis is back, and answers lack its windows")
    wait_for(lambda: asking.status() == "ready", what=lambda: str(asking.health()))
    assert service.stop() == 0
    following.wait()

    with away(own_stack, "postgres"):
        # Nobody knows whether there are keys, so nobody is admitted.
        closed = asks(start("api", **QUICK))
        status, parts = closed.health()
        assert status == "not ready"
        assert not parts["access"][0]
        assert_problem(closed.ask(5), 503, "API keys cannot be checked now")
        assert closed.http.get("/health/live").status_code == 200
    wait_for(lambda: closed.ask(5).status_code == 200, what="Postgres is back, and nobody is admitted")
    wait_for(lambda: closed.status() == "ready", what=lambda: str(closed.health()))
