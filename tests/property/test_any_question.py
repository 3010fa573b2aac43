"""No two questions have the same key, and the expiry stays within its bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from streams.query.answer_store import JITTER, expiry_ms
from streams.query.cache_key import ANSWER_FORMAT, answer_key, encode_question

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates included
QUESTIONS = st.fixed_dictionaries(
    {
        "keyword": ANY_TEXT | st.text("a|[]*:;ils0123456789\x00é\u0301"),
        "limit": st.integers(),
        "since_ms": st.none() | st.integers(),
        "models": st.lists(ANY_TEXT, max_size=3),
    }
)


def decode(content: bytes) -> Any:
    """Returns the parts of an encoded question."""
    value, rest = _decode_part(content)
    assert rest == b""
    return value


def _decode_part(content: bytes) -> tuple[Any, bytes]:
    kind, content = content[:1], content[1:]
    if kind == b"n":
        return None, content
    if kind == b"i":
        number, _, rest = content.partition(b";")
        return int(number), rest
    size, _, rest = content.partition(b":")
    if kind == b"s":
        return rest[: int(size)].decode("utf-8", "surrogatepass"), rest[int(size) :]
    assert kind == b"l"
    parts = []
    for _ in range(int(size)):
        part, rest = _decode_part(rest)
        parts.append(part)
    return parts, rest


@given(QUESTIONS)
def test_a_question_can_be_read_from_its_encoding_so_no_two_have_the_same(question: dict[str, Any]) -> None:
    parts = [ANSWER_FORMAT, question["keyword"], question["limit"], question["since_ms"], sorted(question["models"])]
    assert decode(encode_question(**question)) == parts


@given(QUESTIONS, QUESTIONS)
def test_different_questions_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = {**one, "models": sorted(one["models"])} == {**other, "models": sorted(other["models"])}
    assert (answer_key("emo", **one) == answer_key("emo", **other)) == same


@given(st.floats(0.000_001, 2_592_000), st.floats(0, 1))
@example(1.0, 0.0)
@example(1.0, 1.0)
def test_the_expiry_is_jittered_within_its_bounds(keep_s: float, share: float) -> None:
    between: Callable[[float, float], float] = lambda low, high: low + share * (high - low)  # noqa: E731
    least, most = keep_s * 1_000 * (1 - JITTER), keep_s * 1_000 * (1 + JITTER)
    assert max(1, least - 0.5) <= expiry_ms(keep_s, between) <= max(1, most + 0.5)


def test_the_expiry_uses_the_whole_range() -> None:
    assert expiry_ms(100, lambda low, _: low) == 90_000
    assert expiry_ms(100, lambda _, high: high) == 110_000
    assert len({expiry_ms(100) for _ in range(50)}) > 10
