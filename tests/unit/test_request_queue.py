"""How waiting requests are cut into runs: turns, limits, and what is left out."""

from __future__ import annotations

import pytest

from models.serving.request_queue import BatchLimits, Request, RequestQueue, utf8_size


def request(*texts: str) -> Request[str]:
    return Request(texts, [None] * len(texts), text_tokens=128)


def numbered(name: str, count: int) -> Request[str]:
    return request(*(f"{name}{number}" for number in range(count)))


def runs(queue: RequestQueue[str]) -> list[list[str]]:
    found = []
    while queue:
        found.append(queue.take().texts)
    return found


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 2),
        ("a", 3),
        ("word" * 10, 12),
        ("字" * 4, 5),
        ("\U0001f642", 3),
        ("\ud800", 3),
        ("a" * 100_000, 128),
    ],
)
def test_tokens_are_estimated_by_the_bytes(text: str, tokens: int) -> None:
    assert request(text).tokens == [tokens]


def test_the_size_of_a_text_is_that_of_utf_8() -> None:
    assert [utf8_size(text) for text in ("", "abc", "ä", "字", "\U0001f642", "\ud800")] == [0, 3, 2, 3, 4, 3]


def test_a_small_request_is_in_the_next_run_although_a_large_one_came_first() -> None:
    queue = RequestQueue[str](BatchLimits(run_texts=4, turn_texts=2))
    queue.add(numbered("a", 7))
    queue.add(numbered("b", 1))
    assert runs(queue) == [["a0", "a1", "b0", "a2"], ["a3", "a4", "a5", "a6"]]


def test_large_requests_take_turns() -> None:
    queue = RequestQueue[str](BatchLimits(run_texts=4, turn_texts=2))
    for name in "abc":
        queue.add(numbered(name, 4))
    assert runs(queue) == [["a0", "a1", "b0", "b1"], ["c0", "c1", "a2", "a3"], ["b2", "b3", "c2", "c3"]]


@pytest.mark.parametrize(
    ("waiting", "threads", "texts"), [(40, 1, 40), (40, 2, 20), (41, 2, 21), (40, 4, 10), (40, 8, 8), (5, 4, 5)]
)
def test_threads_without_work_divide_what_waits(waiting: int, threads: int, texts: int) -> None:
    queue = RequestQueue[str](BatchLimits())
    queue.add(numbered("a", waiting))
    assert len(queue.take(threads).texts) == texts


def test_a_text_above_the_limit_of_tokens_is_a_run_of_its_own() -> None:
    queue = RequestQueue[str](BatchLimits(run_tokens=10))
    queue.add(request("short", "x" * 400, "y" * 400, "brief"))
    assert [[len(text) for text in run] for run in runs(queue)] == [[5], [400], [400], [5]]


def test_a_run_has_its_stated_languages_parts_and_tokens() -> None:
    queue = RequestQueue[str](BatchLimits())
    first: Request[str] = Request(["one", "two"], ["en", None], text_tokens=128)
    second: Request[str] = Request(["drei"], ["de"], text_tokens=128)
    queue.add(first)
    queue.add(second)
    run = queue.take()
    assert run.texts == ["one", "two", "drei"]
    assert run.stated == ["en", None, "de"]
    assert run.parts == [(first, 0, 2), (second, 0, 1)]
    assert run.tokens == 9
    assert not queue


def test_a_removed_request_is_in_no_further_run_and_leaves_nothing_behind() -> None:
    queue = RequestQueue[str](BatchLimits(run_texts=2, turn_texts=1))
    gone, stays = numbered("a", 5), numbered("b", 2)
    queue.add(gone)
    queue.add(stays)
    assert queue.take().texts == ["a0", "b0"]
    queue.remove(gone)
    assert (queue.texts, queue.bytes, queue.waiting_texts, queue.waiting_tokens) == (2, 4, 1, 3)
    assert runs(queue) == [["b1"]]
    queue.remove(stays)
    assert (queue.texts, queue.bytes, queue.waiting_texts, queue.waiting_tokens) == (0, 0, 0, 0)


def test_a_request_counts_until_it_is_removed() -> None:
    queue = RequestQueue[str](BatchLimits(waiting_texts=3, waiting_bytes=10))
    first = request("aaaa", "bbbb")
    queue.add(first)
    assert queue.fits(request("cc"))
    assert not queue.fits(request("ccc"))
    assert not queue.fits(request("", ""))
    queue.take()
    assert not queue.fits(request("ccc"))
    queue.remove(first)
    assert queue.fits(request("ccc"))
    assert queue.fits_alone(request("", "", ""))
    assert not queue.fits_alone(request("", "", "", ""))
    assert not queue.fits_alone(request("c" * 11))


def test_limits_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BatchLimits(turn_texts=0)
