"""Answers from the window tables, from the history before them, and from a search, on one server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from streams.query.answer import LabelShare, SentimentShare, SentimentSummary
from streams.query.engine import Engine
from streams.query.errors import QuestionError
from streams.query.fetch_protocol import Fetched
from streams.query.question import Question
from streams.query.sums import LabelSum, Sums
from streams.records import from_ms
from streams.settings import Settings
from streams.windows.rebuild.editor import TableEditor
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from tests.integration.answer_support import HOUR, NOW, START, ask, count, counts, engine_of, expire, post, sink
from tests.integration.rebuild_support import Tables
from tests.integration.window_store_support import env

__all__ = ["env"]  # a fixture

LITERAL = ("a|b", "[sale]", "foo*", "what?", "back\\slash", "60|1772366400000|x", "naïve café", "%2F..%2F", "C++")
"""Keywords with characters that mean something to a pattern, a path or a name of a window."""


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    async with engine_of(settings) as opened:
        yield opened


async def test_an_answer_sums_the_windows_of_the_last_day(
    store: WindowStore, settings: Settings, engine: Engine
) -> None:
    good, bad = ("positive", 0.8), ("negative", -0.6)
    posts = [
        post(0, NOW - 25 * HOUR, "tea"),  # too early
        post(1, NOW - 24 * HOUR, "tea", "milk", confidence=0.5, sentiment=good),
        post(2, NOW - 3 * HOUR, "tea", confidence=0.7, sentiment=good),
        post(3, NOW - 3 * HOUR, "tea", label="disgust", confidence=0.25, sentiment=bad),
        post(4, NOW - 1, "tea", label=None),
        post(5, NOW, "milk"),
    ]
    await count(store, settings, posts)
    answer = await ask(engine, "tea")

    assert answer.agg == [
        LabelShare("joy", 2, 66.67, 0.6),
        LabelShare("anger", 0, 0.0, None),
        LabelShare("fear", 0, 0.0, None),
        LabelShare("disgust", 1, 33.33, 0.25),
    ]
    assert (answer.count, answer.unsupported) == (3, 1)
    assert answer.sentiment == SentimentSummary(
        [SentimentShare("negative", 1, 33.33), SentimentShare("positive", 2, 66.67)], round((0.8 + 0.8 - 0.6) / 3, 4)
    )
    assert (answer.source, answer.complete, answer.notes) == ("windows", True, [])
    assert (answer.since, answer.as_of) == (from_ms(NOW - 24 * HOUR - HOUR // 2), from_ms(NOW))
    assert (await ask(engine, "*")).count == 4
    assert (await ask(engine, "milk", since_ms=NOW - 1_000)).count == 1


async def test_an_unknown_keyword_has_no_posts(store: WindowStore, settings: Settings, engine: Engine) -> None:
    await count(store, settings, [post(0, NOW, "tea")])
    answer = await ask(engine, "nobody's")
    assert (answer.count, answer.source, answer.complete, answer.sentiment) == (0, "windows", True, None)
    assert answer.agg == [LabelShare(label, 0, 0.0, None) for label in ("joy", "anger", "fear")]
    with pytest.raises(QuestionError, match="lies in the future"):
        await ask(engine, "tea", since_ms=NOW + HOUR)


async def test_keywords_stand_for_themselves_in_both_stores(
    store: WindowStore, settings: Settings, engine: Engine
) -> None:
    """Each keyword is counted a different number of times, before and after the windows left Redis."""
    words = [word for number, word in enumerate(LITERAL, 1) for _ in range(number)]
    await count(store, settings, [post(number, NOW, word) for number, word in enumerate(words)])
    expected = {
        **{word: number for number, word in enumerate(LITERAL, 1)},
        "*": len(words),
        "fo": 0,
        "a": 0,
        "[a-z]": 0,
    }
    assert {word: (await ask(engine, word)).count for word in expected} == expected
    await sink(store, settings)
    await expire(store, NOW + 24 * HOUR)
    answers = {word: await ask(engine, word) for word in expected}
    assert {answer.source for answer in answers.values()} == {"history"}
    assert {word: answer.count for word, answer in answers.items()} == expected


async def test_windows_that_left_the_tables_come_from_the_history_and_none_counts_twice(
    store: WindowStore, settings: Settings, engine: Engine
) -> None:
    sentiment = ("positive", 0.5)
    old = [post(hour, START + hour * HOUR, "tea", confidence=0.25, sentiment=sentiment) for hour in range(10)]
    await count(store, settings, old)
    await sink(store, settings)
    # A post comes late, to a window that the history has without it.
    await count(store, settings, [post(10, START + 9 * HOUR, "tea", label="fear"), post(11, NOW, "tea", label=None)])
    everything = await ask(engine, "tea", since_ms=START)
    assert (everything.source, counts(everything), everything.unsupported) == ("windows", {"joy": 10, "fear": 1}, 1)

    await expire(store, START + 4 * HOUR)
    answer = await ask(engine, "tea", since_ms=START)
    assert answer == type(answer).from_json(everything.to_json().replace(b'"windows"', b'"history"'))
    assert (answer.count, answer.agg[0].avg_score, answer.complete, answer.notes) == (11, 0.25, True, [])
    # The tables have all windows of a later span.
    assert (await ask(engine, "tea", since_ms=START + 4 * HOUR)).source == "windows"


async def test_tables_that_begin_later_are_completed_from_the_history(
    store: WindowStore, settings: Settings, engine: Engine
) -> None:
    """Redis lost its data, and Kafka no longer holds the posts of the first hours."""
    posts = [post(hour, START + hour * HOUR, "tea", label="joy" if hour < 5 else "fear") for hour in range(10)]
    await count(store, settings, posts)
    await sink(store, settings)
    tables = Tables(settings)
    for key in tables.client.scan_iter(f"{settings.redis_prefix}:*"):
        tables.client.delete(key)
    empty = await ask(engine, "tea", since_ms=START)
    assert (empty.source, empty.count, empty.complete) == ("history", 10, False)
    assert [note[:38] for note in empty.notes] == ["The window tables in Redis are empty, "]
    assert empty.as_of == from_ms(START + 9 * HOUR)

    await count(store, settings, posts, complete_from_ms=START + 5 * HOUR - 1)
    answer = await ask(engine, "tea", since_ms=START)
    assert (answer.source, counts(answer), answer.complete) == ("history", {"joy": 5, "fear": 5}, True)
    assert (await ask(engine, "tea", since_ms=START + 5 * HOUR)).source == "windows"


async def test_a_history_that_lags_behind_is_named(store: WindowStore, settings: Settings, engine: Engine) -> None:
    posts = [post(hour, START + hour * HOUR, "tea") for hour in range(10)]
    await count(store, settings, posts[:3])
    await sink(store, settings)
    await count(store, settings, posts[3:])
    # The windows leave the tables although the sink has not written them yet.
    for shard in range(store.shards):
        await store.clear_dirty(shard, await store.dirty(shard, 10_000))
    await expire(store, START + 5 * HOUR)
    answer = await ask(engine, "tea", since_ms=START)
    assert (answer.source, answer.count, answer.complete) == ("history", 8, False)
    assert answer.notes == [
        "The history in Postgres ends at 2026-03-01T14:00:00.000Z, so posts that were created before "
        "2026-03-01T17:00:00.000Z may be missing."
    ]


async def test_rebuilt_tables_are_read_as_soon_as_they_are_the_current_ones(
    store: WindowStore, settings: Settings, engine: Engine
) -> None:
    await count(store, settings, [post(0, NOW, "tea")])
    assert (await ask(engine, "tea")).count == 1
    editor = TableEditor.of(store)
    rebuilt = editor.at(await editor.next_generation())
    await count(rebuilt, settings, [post(0, NOW, "tea"), post(1, NOW, "tea")])
    assert (await ask(engine, "tea")).count == 1
    assert await editor.lease(None, "rebuild", "me", 600_000, "take") is not None
    for shard in range(store.shards):
        assert (await editor.lease(shard, "sealed", "me", 600_000, "take"))[0]
    assert await editor.switch("me", rebuilt.generation, 2**52)
    # The old tables are removed a moment later.
    key = WindowKey("tea", 3_600, NOW - NOW % HOUR)
    tables = Tables(settings)
    old = f"{settings.redis_prefix}:{{{shard_of('tea', store.shards)}}}:w:{key.member()}"
    assert tables.client.delete(old) == 1
    assert (await ask(engine, "tea")).count == 2


class Search:
    """A search that notes what it was asked for."""

    def __init__(self, found: Fetched | Exception | None) -> None:
        self.found = found
        self.asked: list[Question] = []

    async def __call__(self, question: Question, deadline: Deadline) -> Fetched | None:
        self.asked.append(question)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def fetched(posts: int, complete: bool = True, *notes: str) -> Fetched:
    return Fetched(posts, Sums({"fear": LabelSum(posts, posts * 0.5)}), complete, notes)


@pytest.mark.parametrize(
    ("found", "source", "count_", "complete", "notes"),
    [
        (fetched(3), "inference", 3, True, []),
        (fetched(3, False, "The source hn failed."), "inference", 3, False, ["The source hn failed."]),
        (fetched(2, True, "The source hn has no more."), "windows", 2, True, ["found no more", "hn has no more"]),
        (None, "windows", 2, True, ["no source can search for more"]),
        (UnavailableError("hn did not answer"), "windows", 2, True, ["the search for more failed"]),
    ],
)  # fmt: skip
async def test_posts_are_searched_for_if_the_windows_have_too_few(
    store: WindowStore,
    settings: Settings,
    found: Fetched | Exception | None,
    source: str,
    count_: int,
    complete: bool,
    notes: list[str],
) -> None:
    await count(store, settings, [post(0, NOW, "tea"), post(1, NOW, "tea")])
    search = Search(found)
    async with engine_of(settings, fetch=search) as engine:
        answer = await ask(engine, "tea", limit=3)
        assert (answer.source, answer.count, answer.complete) == (source, count_, complete)
        assert len(answer.notes) == len(notes)
        assert all(part in note for part, note in zip(notes, answer.notes, strict=True))
        assert [question.limit for question in search.asked] == [3]
        # Two posts are enough for this question.
        assert (await ask(engine, "tea", limit=2)).notes == []
        assert len(search.asked) == 1


async def test_an_answer_says_that_no_source_is_configured(
    store: WindowStore, settings: Settings, engine: Engine
) -> None:
    await count(store, settings, [post(0, NOW, "tea")])
    answer = await ask(engine, "tea", limit=250)
    assert (answer.source, answer.count, answer.complete) == ("windows", 1, True)
    assert answer.notes == ["The windows have fewer than 250 posts, and no source is configured to search for more."]
