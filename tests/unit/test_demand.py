"""Counting questions in a process, and the names that they have in Redis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.query.demand import DemandCounter, decayed, member_of, question_of
from streams.query.errors import QuestionError
from streams.query.question import MAX_LIMIT, Question
from streams.records import from_ms


def test_a_process_counts_questions_between_two_writes() -> None:
    counter = DemandCounter()
    for keyword in ("a|b", "*", "a|b"):
        counter.asked(Question.of(keyword))
    counter.asked(Question.of("a|b", limit=1))
    counter.asked(Question.of("a|b", since=from_ms(0)))  # has an answer of its own
    taken = counter.take()
    assert taken == {(250, "a|b"): 2, (250, "*"): 1, (1, "a|b"): 1}
    assert counter.take() == {}
    counter.asked(Question.of("*"))
    counter.put_back(taken)
    assert counter.take() == {(250, "a|b"): 2, (250, "*"): 2, (1, "a|b"): 1}


def test_the_questions_of_a_process_are_bounded() -> None:
    counter = DemandCounter(most=2)
    for keyword in ("a", "b", "c", "a"):
        counter.asked(Question.of(keyword))
    counter.put_back({(250, "d"): 1, (250, "b"): 1})
    assert counter.take() == {(250, "a"): 2, (250, "b"): 2}


@given(st.text(min_size=1, max_size=50), st.integers(1, MAX_LIMIT))
def test_a_member_holds_its_question(keyword: str, limit: int) -> None:
    try:
        question = Question.of(keyword, limit=limit)
    except QuestionError:
        return
    assert question_of(member_of(question.limit, question.keyword)) == question


@pytest.mark.parametrize(
    "member", ["", "coffee", "250", "250 ", "0 coffee", "501 coffee", "1.5 coffee", "250  coffee", "07 a"]
)
def test_what_another_program_has_written_is_no_question(member: str) -> None:
    assert question_of(member) is None


def test_a_demand_is_half_after_a_half_life() -> None:
    assert decayed(8, landmark=100, half_life_s=50, now=200) == 2
    assert decayed(8, landmark=0, half_life_s=1, now=1e9) == 0
    assert decayed(8, landmark=1e9, half_life_s=1, now=0) == math.inf
