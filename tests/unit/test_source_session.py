"""How a process takes an instance over and closes its clients of Kafka, which the tests make up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from connectors.errors import RejectedError
from connectors.sources.rss import RssSource
from streams.errors import InputError
from streams.ingest.sources import session as session_module
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.keywords import fixed_keywords
from streams.ingest.sources.kinds import opener_of
from streams.ingest.sources.metrics import IngestMetrics, InstanceMetrics
from streams.ingest.sources.positions import UnreadablePositionError
from streams.ingest.sources.sent import SentIds
from streams.records import SourcePosition
from tests.helpers import make_settings

SPEC = SourceSpec("mine", "bluesky")


def position(*, source: str = "bluesky", cursor: str | None = None, gaps: int = 0) -> SourcePosition:
    return SourcePosition.from_fields(
        {
            "instance": "mine",
            "source": source,
            "cursor": cursor,
            "at": None,
            "raw_topic": "posts.raw",
            "offsets": {"0": 5},
            "reread": {"0": 1},
            "gaps": gaps,
            "saved_at": "2026-03-01T12:00:00Z",
        }
    )


class Clients:
    """The clients of a session. A reader that is asked for the ends waits a moment, and notes if it is closed then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, load: Callable[[], SourcePosition | None]) -> None:
        self.load = load
        self.asked, self.closing = threading.Event(), threading.Event()
        self.was_closed_in_use = False
        self.closed: list[str] = []
        self.saved: list[tuple[SourcePosition, int]] = []
        for name in ("PositionStore", "ConfirmedProducer", "OffsetReader"):
            monkeypatch.setattr(session_module, name, lambda *_, _name=name, **__: Client(self, _name))
        monkeypatch.setattr(session_module, "KafkaAdmin", lambda _: None)
        monkeypatch.setattr(session_module, "partitions_of", lambda *_: 1)
        monkeypatch.setattr(session_module, "read_sent", lambda *_, **__: SentIds())

    @asynccontextmanager
    async def session(self, *, from_now: bool = False, spec: SourceSpec = SPEC) -> AsyncIterator[Any]:
        async with session_module.open_session(
            spec,
            make_settings(),
            selection=fixed_keywords(["tea"]),
            metrics=InstanceMetrics(IngestMetrics(), "mine"),
            from_now=from_now,
        ) as pump:
            yield pump


class Client:
    """One of them."""

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients = clients
        self._name = name

    def load(self) -> SourcePosition | None:
        return self._clients.load()

    def save(self, position: SourcePosition, gaps: Sequence[object]) -> None:
        self._clients.saved.append((position, len(gaps)))

    def all_bounds(self, _topic: str, partitions: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        self._clients.asked.set()
        self._clients.was_closed_in_use = self._clients.closing.wait(0.2)
        return dict.fromkeys(partitions, (0, 5))

    def close(self, _timeout_s: float = 0.0) -> None:
        if self._name == "OffsetReader":
            self._clients.closing.set()
        self._clients.closed.append(self._name)


async def test_no_client_is_closed_while_a_call_that_was_cancelled_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients(monkeypatch, lambda: position(cursor="1"))
    async with clients.session() as pump:
        asking = asyncio.ensure_future(pump._ends())
        await asyncio.to_thread(clients.asked.wait, 30)
        asking.cancel()
    assert sorted(clients.closed) == ["ConfirmedProducer", "OffsetReader", "PositionStore"]
    assert not clients.was_closed_in_use


def damaged() -> SourcePosition | None:
    raise UnreadablePositionError("the position of mine cannot be read")


@pytest.mark.parametrize(
    ("load", "numbers"),
    [
        (lambda: None, []),
        (position, []),
        (lambda: position(cursor="1", gaps=4), [5]),
        (damaged, [1]),
    ],
    ids=["never-started", "no-event-yet", "begun", "damaged"],
)
async def test_from_now_is_a_gap_if_there_was_something_before(
    load: Callable[[], SourcePosition | None], numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(monkeypatch, load)
    async with clients.session(from_now=True) as pump:
        assert [gap.number for gap in pump._intake.take().gaps] == numbers
        assert pump.cursor is None


@pytest.mark.parametrize(
    ("load", "problem"), [(damaged, "cannot be read"), (lambda: position(source="rss"), "is one of rss")]
)
async def test_a_position_that_cannot_be_used_closes_its_store(
    load: Callable[[], SourcePosition | None], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(monkeypatch, load)
    with pytest.raises(InputError, match=problem):
        async with clients.session():
            pytest.fail("it was taken over")
    assert clients.closed == ["PositionStore"]


async def test_a_source_that_fails_with_from_now_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next process, without --from-now, would begin with new posts and record no gap."""
    clients = Clients(monkeypatch, lambda: position(cursor="7", gaps=2))
    clients.closing.set()
    async with clients.session(from_now=True) as pump:
        assert pump.cursor is None
        await pump.fail(RejectedError("the token is wrong"))
    ((stored, gaps),) = clients.saved
    assert (stored.cursor, stored.gaps, gaps) == ("7", 2, 0)
    assert stored.report is not None
    assert stored.report.failure == "the token is wrong"


@pytest.mark.parametrize(
    ("options", "from_now", "cursor", "said"),
    [
        ({}, False, None, "begins with new posts"),
        ({"begin": "latest"}, False, None, "begins with new posts"),
        ({"begin": "earliest"}, False, None, "begins with the posts that are there already"),
        ({"history": True}, False, None, "begins with the posts that are there already"),
        ({"begin": "earliest"}, True, "7", "begins with new posts"),
        ({"begin": "earliest"}, False, "7", "continues from its position of 2026-03-01 12:00:00+00:00"),
    ],
)
async def test_the_log_tells_where_a_source_begins(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, object],
    from_now: bool,
    cursor: str | None,
    said: str,
) -> None:
    clients = Clients(monkeypatch, lambda: None if cursor is None else position(cursor=cursor))
    clients.closing.set()
    caplog.set_level("INFO", logger=session_module.__name__)
    async with clients.session(from_now=from_now, spec=replace(SPEC, options=options)):
        pass
    assert caplog.messages == [f"mine: {said}"]


async def test_from_now_leaves_out_the_history_of_feeds() -> None:
    feeds = SourceSpec("mine", "rss", endpoints=("https://feeds.example/1",), options={"history": True})
    for from_now in (False, True):
        source = opener_of(feeds, make_settings(), from_now=from_now)()
        assert isinstance(source, RssSource)
        assert source._options.history is not from_now
        await source.close()
