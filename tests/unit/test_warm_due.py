"""Which answers the warmer refreshes, and which new answer replaces an old one."""

from __future__ import annotations

import pytest

from streams.query.answer import Answer, AnswerSource
from streams.query.answer_codec import decode, encode, split
from streams.query.answer_store import Entry
from streams.records import from_ms
from streams.warm.due import interval_s, is_due, lifetime_s, replaces

NOW_MS = 1_800_000_000_000


def answer(count: int, source: AnswerSource = "windows", *, complete: bool = True) -> bytes:
    made = Answer(
        keyword='"source":"windows",|\n☕',
        count=count,
        agg=[],
        sentiment=None,
        unsupported=0,
        source=source,
        as_of=None,
        since=from_ms(0),
        complete=complete,
        notes=[],
    )
    return encode(made)


def entry(value: bytes, age_s: float = 0) -> Entry:
    return Entry(value, NOW_MS - round(age_s * 1_000))


@pytest.mark.parametrize(
    ("keep_s", "fresh_s", "lifetime", "interval"),
    [(3_600, 60, 60, 15), (3_600, 8, 8, 2), (3_600, 0.5, 0.5, 1), (100, 3_600, 90, 15), (40, 0, 36, 9)],
)
def test_an_answer_is_good_until_it_is_stale_or_may_expire(
    keep_s: float, fresh_s: float, lifetime: float, interval: float
) -> None:
    assert lifetime_s(keep_s=keep_s, fresh_s=fresh_s) == pytest.approx(lifetime)
    assert interval_s(lifetime_s(keep_s=keep_s, fresh_s=fresh_s)) == pytest.approx(interval)


@pytest.mark.parametrize(
    ("age_s", "next_look_s", "due"),
    [(0, 15, False), (44.9, 15, False), (45, 15, True), (60, 15, True), (29, 500, False), (30, 500, True)],
)
def test_an_answer_is_due_if_it_would_be_stale_at_the_next_look(age_s: float, next_look_s: float, due: bool) -> None:
    found = is_due(entry(b"", age_s), now_ms=NOW_MS, lifetime_s=60, next_look_s=next_look_s)
    assert found is due


def test_an_absent_answer_is_due() -> None:
    assert is_due(None, now_ms=NOW_MS, lifetime_s=60, next_look_s=1)


@pytest.mark.parametrize(
    ("old", "new", "searches", "stored"),
    [
        (None, answer(3), False, True),
        (None, answer(3), True, False),  # a search could find more
        (None, answer(10), True, True),
        (answer(20), answer(10), True, True),  # windows have expired
        (answer(11, "inference"), answer(10), False, False),
        (answer(10, "inference"), answer(10), False, True),
        (answer(9, "inference"), answer(10), True, True),
        (answer(10), answer(10, complete=False), False, False),
        (answer(10, complete=False), answer(10, complete=False), False, True),
        (None, answer(10, complete=False), False, True),
        (b"of another program", answer(10), False, True),
    ],
)
def test_a_poorer_answer_does_not_replace_a_richer_one(
    old: bytes | None, new: bytes, searches: bool, stored: bool
) -> None:
    before = None if old is None else entry(old)
    assert replaces(before, new, limit=10, searches=searches) is stored


@pytest.mark.parametrize("source", ["windows", "history", "inference", "cache"])
def test_the_stored_form_has_the_source_apart(source: AnswerSource) -> None:
    stored = answer(7, source)
    found, body = split(stored)
    assert found == source.encode()
    made = decode(stored)
    assert (made.source, made.count) == (source, 7)
    assert Answer.from_json(body + b',"source":"cache"}') == decode(b"cache\n" + body)
