"""Shares add up to exactly 100 percent, are as near to the exact ones as possible, and keep the order of counts."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streams.query.answer import label_shares, make_answer
from streams.query.question import Question
from streams.query.shares import WHOLE, percentages, shares
from streams.query.sums import LabelSum, Sums
from streams.records import from_ms

NAMES = st.text(max_size=3)
COUNTS = st.dictionaries(NAMES, st.integers(0, 12) | st.integers(0, 10**12), max_size=40)
SOME = COUNTS.filter(lambda counts: any(counts.values()))
LABELS = st.dictionaries(
    NAMES, st.integers(0, 1_000).flatmap(lambda posts: st.tuples(st.just(posts), st.floats(0, posts))), max_size=10
)


def sums_of(labels: dict[str, tuple[int, float]], **more: object) -> Sums:
    return Sums({label: LabelSum(*found) for label, found in labels.items()}, **more)  # type: ignore[arg-type]


@given(SOME)
def test_shares_add_up_to_exactly_all(counts: dict[str, int]) -> None:
    assert sum(shares(counts).values()) == WHOLE
    assert sum(round(100 * pct) for pct in percentages(counts).values()) == WHOLE
    assert list(shares(counts)) == list(counts)


@given(SOME)
def test_a_share_is_the_exact_one_rounded_down_or_up(counts: dict[str, int]) -> None:
    total = sum(counts.values())
    for name, share in shares(counts).items():
        assert abs(share - Fraction(WHOLE * counts[name], total)) < 1
        assert counts[name] or not share


@given(SOME)
def test_no_other_way_to_round_is_nearer(counts: dict[str, int]) -> None:
    """Hundredths moved from one label to another would not bring the shares nearer to the exact ones."""
    total = sum(counts.values())
    off = [share - Fraction(WHOLE * counts[name], total) for name, share in shares(counts).items()]
    assert max(off) - min(off) <= 1


@given(SOME)
def test_more_posts_never_have_a_smaller_share(counts: dict[str, int]) -> None:
    found = shares(counts)
    for name, share in found.items():
        for other, of_other in found.items():
            assert share >= of_other or counts[name] <= counts[other]


@given(SOME, st.randoms())
def test_shares_do_not_depend_on_the_order(counts: dict[str, int], random: object) -> None:
    shuffled = list(counts.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert shares(dict(shuffled)) == shares(counts)


@given(st.dictionaries(NAMES, st.just(0)))
def test_nothing_has_no_shares(counts: dict[str, int]) -> None:
    assert shares(counts) == counts


@given(LABELS, st.lists(NAMES, unique=True))
def test_every_label_has_one_row(found: dict[str, tuple[int, float]], labels: list[str]) -> None:
    rows = label_shares(sums_of(found), labels)
    names = [row.label for row in rows]
    assert names[: len(labels)] == labels
    assert names[len(labels) :] == sorted(set(found) - set(labels))
    assert sum(row.count for row in rows) == sum(posts for posts, _ in found.values())
    assert sum(round(100 * row.pct) for row in rows) == (WHOLE if any(row.count for row in rows) else 0)
    for row in rows:
        assert (row.avg_score is None) == (row.count == 0)
        assert row.avg_score is None or 0 <= row.avg_score <= 1


@given(
    LABELS,
    st.dictionaries(NAMES, st.integers(0, 100), max_size=3),
    st.floats(-1, 1),
    st.integers(0, 100),
)
def test_an_answer_is_read_as_it_was_written(
    found: dict[str, tuple[int, float]], sentiments: dict[str, int], mean: float, unsupported: int
) -> None:
    scored = sum(sentiments.values())
    sums = sums_of(found, sentiments=sentiments, sentiment_score=mean * scored, unsupported=unsupported)
    answer = make_answer(
        Question.of("tea"), sums, labels=["joy"], source="windows", as_of=None, since=from_ms(0), notes=["A.", "A."]
    )
    assert type(answer).from_json(answer.to_json()) == answer
    assert (answer.count, answer.unsupported, answer.notes) == (sums.count, unsupported, ["A."])
    assert (answer.sentiment is None) == (scored == 0)
    if answer.sentiment is not None:
        assert abs(answer.sentiment.mean - mean) <= 0.0001
        assert sum(round(100 * row.pct) for row in answer.sentiment.labels) == WHOLE


@given(LABELS, LABELS, LABELS)
def test_sums_add_up_in_any_grouping(
    first: dict[str, tuple[int, float]], second: dict[str, tuple[int, float]], third: dict[str, tuple[int, float]]
) -> None:
    parts = [sums_of(labels, sentiments={"good": 1}, unsupported=2) for labels in (first, second, third)]
    at_once, grouped = Sums.total(parts), Sums.total([parts[0], Sums.total(parts[1:]), Sums()])
    assert {label: one.posts for label, one in at_once.labels.items()} == {
        label: one.posts for label, one in grouped.labels.items()
    }
    assert at_once.count == sum(part.count for part in parts)
    assert (at_once.unsupported, at_once.sentiments) == (6, {"good": 3})
