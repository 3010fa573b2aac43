"""How long a message waits for its next try, and how many are sent in a minute: for any numbers."""

from __future__ import annotations

from math import inf

from hypothesis import example, given
from hypothesis import strategies as st

from streams.alerts.delivery.retries import RateLimit, Retries
from streams.alerts.isolation import balanced, isolated, without_mentions

SECONDS = st.floats(0, 1e6)


@given(
    attempt=st.integers(1, 10_000), age=SECONDS, asked=st.none() | st.floats(0, 1e12), chance=st.floats(0, 1),
    give_up=st.floats(1, 1e6) | st.just(inf),
)  # fmt: skip
def test_a_wait_is_within_its_limits(
    attempt: int, age: float, asked: float | None, chance: float, give_up: float
) -> None:
    retries = Retries(give_up_s=give_up)
    wait = retries.wait_s(attempt, age, asked, chance)
    if age >= give_up:
        assert wait is None
        return
    assert wait is not None
    assert 0 < wait <= max(retries.most_s, retries.most_asked_s)
    assert age + wait <= give_up * (1 + 1e-9)
    if asked is not None and age + max(asked, retries.most_s) < give_up:
        assert wait >= min(asked, retries.most_asked_s)
    if wait < give_up - age:
        assert wait >= min(retries.first_s * 2 ** min(attempt - 1, 30), retries.most_s) / 2


@given(st.floats(0, 1))
def test_waits_grow_until_the_time_to_give_up(chance: float) -> None:
    retries, age, tries, before = Retries(), 0.0, 1, 0.0
    while (wait := retries.wait_s(tries, age, None, chance)) is not None:
        assert wait >= before or age + wait >= retries.give_up_s - 1e-6
        age, tries, before = age + wait, tries + 1, wait
    assert retries.give_up_s <= age + 1e-6
    assert 90 < tries < 220


@given(st.integers(1, 20), st.lists(st.floats(0, 10), max_size=100))
@example(1, [8.109081826998665, 0.0, 0.0, 0.0])  # 60 s later by rounding is a little less
def test_no_minute_has_more_messages_than_allowed(per_minute: int, pauses: list[float]) -> None:
    limit, now, sent = RateLimit(per_minute), 0.0, []
    for pause in pauses:
        now += pause
        now += limit.wait_s(now)
        limit.count(now)
        sent.append(now)
    for first, last in zip(sent, sent[per_minute:], strict=False):
        assert last - first >= 60 - 1e-6


@given(st.text())
def test_any_text_is_balanced_and_stays_so(text: str) -> None:
    assert balanced(balanced(text)) == balanced(text)
    assert balanced(isolated(text)) == isolated(text)
    assert len(isolated(text).splitlines()) == 1
    assert without_mentions(without_mentions(text)) == without_mentions(text)
