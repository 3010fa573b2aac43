"""Every method of the window tables raises UnavailableError while Redis does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from connectors.errors import UnavailableError
from streams.windows.deltas import Position
from streams.windows.reader import WindowReader
from streams.windows.rebuild.editor import TableEditor
from streams.windows.top import TopKeywords
from streams.windows.tumbling import WindowKey
from streams.windows.update import PositionChange, ShardUpdate

WINDOW = WindowKey("*", 60, 0)
REQUESTS: dict[str, Callable[[TableEditor], Awaitable[object]]] = {
    "check_topology": lambda store: store.check_topology(4),
    "is_initialised": lambda store: store.is_initialised(0),
    "initialise": lambda store: store.initialise(0, 0),
    "positions": lambda store: store.positions(0, [0]),
    "apply": lambda store: store.apply(0, ShardUpdate({0: PositionChange(Position(), Position(1, 0, 0))})),
    "apply_all": lambda store: store.apply_all({1: ShardUpdate({0: PositionChange(Position(), Position(1, 0, 0))})}),
    "changed_topics": lambda store: store.changed_topics({"posts.raw": "id"}),
    "forget_positions": lambda store: store.forget_positions("p", 1, "posts.raw", "id"),
    "times": lambda store: store.times(0),
    "finalize": lambda store: store.finalize(0, 0),
    "note_watermark": lambda store: store.note_watermark(0, 0),
    "expire": lambda store: store.expire(0, 60, 0),
    "dirty": lambda store: store.dirty(0, 1),
    "clear_dirty": lambda store: store.clear_dirty(0, []),
    "mark_all_dirty": lambda store: store.mark_all_dirty(0),
    "dirty_count": lambda store: store.dirty_count(0),
    "counters": lambda store: store.counters(),
    "read": lambda store: store.read(),
    "sliding": lambda store: store.sliding(60, 5),
    "newest_end": lambda store: store.newest_end(60),
    "scan": lambda store: anext(store.scan(60)),
    "memory": lambda store: store.memory(60),
    "refresh": lambda store: store.refresh(),
    "sealed": lambda store: store.sealed(0),
    "lease": lambda store: store.lease(None, "rebuild", "me", 1, "take"),
    "garbage": lambda store: store.garbage(),
    "next_generation": lambda store: store.next_generation(),
    "forget_garbage": lambda store: store.forget_garbage(),
    "switch": lambda store: store.switch("me", 1, 0),
    "state": lambda store: store.state(0),
    "set_state": lambda store: store.set_state(0, {"rebuilt_at": "0"}),
    "expire_state": lambda store: store.expire_state(0, 1),
    "members": lambda store: store.members(0, 60, 0, 1),
    "ended": lambda store: store.ended(0, 60, 0),
    "posts": lambda store: store.posts(0, [WINDOW]),
    "carry": lambda store: store.carry(store.at(0), 0, 60, [WINDOW], "reconcile"),
    "drop": lambda store: store.drop(0, 60, [WINDOW]),
    "clear": lambda store: store.clear(),
}


def test_every_method_is_tested() -> None:
    public = {name for name in dir(TableEditor) if not name.startswith("_") and callable(getattr(TableEditor, name))}
    assert public - {"close", "at", "of"} == REQUESTS.keys()


@pytest.mark.parametrize(
    "request_", [*REQUESTS.values(), lambda store: TopKeywords(store).read(5)], ids=[*REQUESTS, "top_keywords"]
)
async def test_an_absent_redis_is_unavailable(request_: Callable[[TableEditor], Awaitable[object]]) -> None:
    absent = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0), decode_responses=True)
    store = TableEditor(absent, prefix="emo", shards=2, sizes=[60])
    try:
        with pytest.raises(UnavailableError, match="Redis did not answer"):
            await request_(store)
    finally:
        await store.close()


class _Answers:
    """A Redis whose `zrange` returns these results, one after the other."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)

    def register_script(self, text: str) -> None:
        """Does nothing, because no script runs."""

    async def zrange(self, *args: object, **options: object) -> object:
        return self._answers.pop(0)


@pytest.mark.parametrize("answers", [([], [("m", 60_000.0)]), ([("m", 60_000.0)], [])])
async def test_an_index_that_appears_or_disappears_between_two_reads_counts_as_empty(
    answers: tuple[object, object],
) -> None:
    reader = WindowReader(_Answers(*answers), prefix="emo", shards=1, sizes=[60])  # type: ignore[arg-type]
    assert await reader.sliding(60, 1) == []
