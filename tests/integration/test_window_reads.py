"""Reads of the window tables return the windows that were asked for, in order, as they were counted."""

from __future__ import annotations

from collections.abc import Callable

from streams.ops.demo.processes import Role
from streams.records import from_ms
from streams.windows.store import WindowStore
from tests.integration.support import wait_for
from tests.integration.window_store_support import KEYWORD, START, apply_all, entry, env, of

__all__ = ["env"]  # a fixture


async def test_what_is_applied_can_be_read(store: WindowStore) -> None:
    await apply_all(store, [entry(0, 1), entry(1, 59.999, "anger", 0.5), entry(2, 60)], end=3)

    windows = await store.read(keyword=KEYWORD)

    assert [(w.start, w.count) for w in windows] == [(from_ms(START + 60_000), 1), (from_ms(START), 2)]
    first = windows[1]
    assert {label: (s.count, s.pct, s.mean_confidence) for label, s in first.labels.items()} == {
        "anger": (1, 50.0, 0.5),
        "joy": (1, 50.0, 0.75),
    }
    assert (first.first_event, first.last_event) == (from_ms(START + 1_000), from_ms(START + 59_999))
    assert (first.models, first.sources, first.final, first.late) == ({"1.0.0": 2}, {"test": 2}, False, 0)
    assert {w.keyword for w in await store.read()} == {"*", KEYWORD}


async def test_a_limit_returns_the_latest_windows(store: WindowStore) -> None:
    words = [f"word-{number}" for number in range(30)]
    posts = [of(minute, 60 * minute, *words[: 30 - minute]) for minute in range(5)]
    await apply_all(store, posts, end=5)
    everything = await store.read(size=60)
    assert len(everything) == sum(1 + 30 - minute for minute in range(5))
    assert [(w.keyword, w.start) for w in everything[:2]] == [
        ("*", from_ms(START + 240_000)),
        ("word-0", from_ms(START + 240_000)),
    ]
    for limit in (1, 5, 26, 27, 40, 1_000):
        assert await store.read(size=60, limit=limit) == everything[:limit]
    late = [window for window in everything if window.keyword == "word-27"]
    assert len(late) == 3
    assert await store.read(size=60, keyword="word-27") == late
    assert await store.read(size=60, keyword="word-27", limit=2) == late[:2]
    assert await store.read(size=60, keyword="word-27", since_ms=START + 60_000) == late[:2]
    assert await store.read(size=60, keyword="nobody's") == []
    assert {window.size for window in await store.read()} == {60}, "only one size was counted"
    assert await store.read(size=3_600) == []


async def test_sliding_windows_sum_the_last_windows(store: WindowStore) -> None:
    # Posts in the minutes 0, 1, 3 and 5; the last one has no post about coffee.
    posts = [of(0, 10, "coffee"), of(1, 70, "coffee", "tea"), of(2, 190, "coffee", label="anger"), of(3, 300, "tea")]
    await apply_all(store, posts, end=4)
    everything, coffee, tea = await store.sliding(60, 5)
    assert [(w.keyword, w.count) for w in (everything, tea, coffee)] == [("*", 3), ("tea", 2), ("coffee", 2)]
    assert (everything.start, everything.end) == (from_ms(START + 60_000), from_ms(START + 360_000))
    assert {label: (stats.count, stats.pct) for label, stats in coffee.labels.items()} == {
        "anger": (1, 50.0),
        "joy": (1, 50.0),
    }
    assert (coffee.first_event, coffee.last_event) == (from_ms(START + 70_000), from_ms(START + 190_000))
    assert not everything.final
    assert [w.count for w in await store.sliding(60, 6, keyword="coffee")] == [3]
    assert await store.sliding(60, 1, keyword="coffee") == []
    assert await store.sliding(60, 5, limit=1) == [everything]
    assert await store.sliding(3_600, 5) == []


async def test_following_the_windows_into_a_file_writes_each_new_state_as_a_line(
    env: dict[str, str], store: WindowStore, start: Callable[..., Role]
) -> None:
    role = start("windows", "--follow", "--size", "1m", "--keyword", KEYWORD)
    wait_for(lambda: "no windows of the keyword" in role.log.read_text(), what="it does not say that nothing is there")

    await apply_all(store, [entry(0, 1), entry(1, 2)], end=2)
    wait_for(lambda: role.log.read_text().count(" joy 100% ") == 1, what="the window is not written")
    role.check()
    await apply_all(store, [entry(2, 3, "anger")], end=3)
    wait_for(lambda: "joy 67% anger 33% " in role.log.read_text(), what="its new state is not written")

    lines = [line for line in role.log.read_text().splitlines() if "Z 1m " in line]
    assert len(lines) == 2
    assert "\x1b" not in role.log.read_text()
