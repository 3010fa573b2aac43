"""Micro-batching: which texts share a run, and what callers get when it is full, fails or they are cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from models.errors import ClassificationError, OverloadedError, RequestTooLargeError
from models.serving.micro_batcher import FIRST_RETRY_S
from tests.batcher_support import DEADLINE_S, HeldModel, ask, batcher


async def test_what_arrives_while_the_model_runs_shares_the_next_run() -> None:
    model = HeldModel()
    async with batcher(model) as to:
        first = await ask(to, "a")
        assert await model.begun() == ["a"]
        others = [await ask(to, "b", "c"), await ask(to, "d")]
        model.finish()
        assert await first == ["a/None"]
        assert await model.begun() == ["b", "c", "d"]
        model.finish()
        assert await asyncio.gather(*others) == [["b/None", "c/None"], ["d/None"]]


async def test_the_stated_languages_arrive_with_their_texts() -> None:
    model = HeldModel()
    model.open.set()
    async with batcher(model) as to:
        assert await to.classify(["a", "b"], ["en", None]) == ["a/en", "b/None"]
        assert await to.classify([], []) == []
        with pytest.raises(ValueError, match="1 stated languages for 2 texts"):
            await to.classify(["a", "b"], [None])
    assert model.runs == [["a", "b"]]


async def test_a_large_request_takes_turns_with_a_small_one() -> None:
    model = HeldModel()
    async with batcher(model, run_texts=3, turn_texts=2) as to:
        large = await ask(to, *"abcdefg")
        assert await model.begun() == ["a", "b", "c"]
        small = await ask(to, "x")
        model.finish()
        assert await model.begun() == ["d", "e", "x"]
        model.finish()
        assert await small == ["x/None"]
        assert not large.done()
        assert await model.begun() == ["f", "g"]
        model.finish()
        assert await large == [f"{text}/None" for text in "abcdefg"]


async def test_a_caller_that_has_gone_costs_no_inference() -> None:
    registry = CollectorRegistry()
    model = HeldModel()
    async with batcher(model, registry) as to:
        first = await ask(to, "a")
        await model.begun()
        gone, stays = await ask(to, "b", "c"), await ask(to, "d")
        assert registry.get_sample_value("emostream_inference_waiting_texts") == 4
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert registry.get_sample_value("emostream_inference_waiting_texts") == 2
        model.open.set()
        await asyncio.gather(first, stays)
    assert model.runs == [["a"], ["d"]]
    assert registry.get_sample_value("emostream_inference_abandoned_total") == 1
    assert registry.get_sample_value("emostream_inference_waiting_bytes") == 0


async def test_a_caller_may_go_while_its_texts_are_classified() -> None:
    model = HeldModel()
    async with batcher(model, run_texts=1) as to:
        gone = await ask(to, "a", "b")
        await model.begun()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        model.open.set()
        assert await to.classify(["c"], [None]) == ["c/None"]
    assert model.runs == [["a"], ["c"]]


async def test_a_failure_reaches_the_callers_of_its_run_and_no_others() -> None:
    registry = CollectorRegistry()
    model = HeldModel()
    model.fails = {"bad": RuntimeError("the network fell over")}
    async with batcher(model, registry, run_texts=2, turn_texts=1) as to:
        before = await ask(to, "a")
        await model.begun()
        failing, beside, after = await ask(to, "bad", "never"), await ask(to, "b"), await ask(to, "c")
        model.open.set()
        assert await before == ["a/None"]
        for task in (failing, beside):
            with pytest.raises(ClassificationError, match="the model failed: RuntimeError") as caught:
                await task
            assert str(caught.value.__cause__) == "the network fell over"
        assert await after == ["c/None"]
    # The rest of the request that failed is not classified.
    assert model.runs == [["a"], ["bad", "b"], ["c"]]
    assert registry.get_sample_value("emostream_inference_failures_total") == 1


class PanicException(BaseException):
    """What a panic of a library in Rust looks like: it is no Exception."""


@pytest.mark.parametrize("failure", [PanicException("index out of bounds"), MemoryError()])
async def test_the_thread_outlives_any_failure(failure: BaseException) -> None:
    model = HeldModel()
    model.open.set()
    model.fails = {"bad": failure}
    async with batcher(model) as to:
        with pytest.raises(ClassificationError):
            await to.classify(["bad"], [None])
        assert await to.classify(["good"], [None]) == ["good/None"]


async def test_a_broken_model_is_logged_once_until_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="models.serving")
    model = HeldModel()
    model.open.set()
    model.fails = {"bad": RuntimeError()}
    async with batcher(model) as to:
        for text in ("bad", "bad", "good", "good", "bad"):
            with suppress(ClassificationError):
                await to.classify([text], [None])
    failed = "a run of 1 texts failed, and its callers get an error"
    assert caplog.messages == [failed, "the model classifies again", failed]


async def test_a_wrong_number_of_answers_is_a_failure() -> None:
    async with batcher(lambda texts, _stated: texts[1:]) as to:
        with pytest.raises(ClassificationError) as caught:
            await to.classify(["a", "b"], [None, None])
    assert str(caught.value.__cause__) == "the model gave 1 answers to 2 texts"


async def test_beyond_the_limits_a_request_is_refused_at_once() -> None:
    registry = CollectorRegistry()
    model = HeldModel()
    async with batcher(model, registry, waiting_texts=3, waiting_bytes=100) as to:
        first = await ask(to, "a", "b")
        await model.begun()
        with pytest.raises(OverloadedError, match="2 texts with 2 bytes wait") as caught:
            await to.classify(["c", "d"], [None, None])
        assert caught.value.retry_after_s == FIRST_RETRY_S
        with pytest.raises(OverloadedError):
            await to.classify(["x" * 99], [None])
        with pytest.raises(RequestTooLargeError, match="4 texts with 4 bytes is too large"):
            await to.classify(["c"] * 4, [None] * 4)
        with pytest.raises(RequestTooLargeError):
            await to.classify(["x" * 101], [None])
        third = await ask(to, "c")
        model.open.set()
        await asyncio.gather(first, third)
        assert await to.classify(["c", "d", "e"], [None] * 3) == ["c/None", "d/None", "e/None"]
    refused = "emostream_inference_refused_total"
    assert registry.get_sample_value(refused, {"reason": "overloaded"}) == 2
    assert registry.get_sample_value(refused, {"reason": "too_large"}) == 2


async def test_the_wait_follows_from_the_measured_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("models.serving.micro_batcher.time.monotonic", lambda: now)

    def model(texts: Sequence[str], _stated: Sequence[str | None]) -> Sequence[str]:
        nonlocal now
        if texts[0] == "hold":
            begun.set()
            assert go_on.wait(DEADLINE_S)
        now += 0.5  # a run of 10 tokens, so the rate is 20 tokens/s
        return texts

    begun, go_on = threading.Event(), threading.Event()
    text = "x" * 32  # 10 tokens
    async with batcher(model, run_texts=1, run_tokens=40, waiting_texts=4) as to:
        await to.classify([text], [None])
        waiting = [await ask(to, "hold")]
        assert await asyncio.to_thread(begun.wait, DEADLINE_S)
        waiting += [await ask(to, text, text, text)]
        with pytest.raises(OverloadedError) as caught:
            await to.classify([text], [None])
        go_on.set()
        await asyncio.gather(*waiting)
    # 30 tokens wait, and half a run is to be classified before them.
    assert caught.value.retry_after_s == pytest.approx((30 + 20) / 20)


async def test_two_threads_classify_two_runs_at_once() -> None:
    together = threading.Barrier(2)

    def model(texts: Sequence[str], _stated: Sequence[str | None]) -> Sequence[str]:
        together.wait(DEADLINE_S)
        return [text.upper() for text in texts]

    async with batcher(model, run_texts=1, threads=2) as to:
        assert await to.classify(["a", "b"], [None, None]) == ["A", "B"]


async def test_idle_threads_divide_what_waits() -> None:
    model = HeldModel()
    texts = [str(number) for number in range(40)]
    async with batcher(model, threads=2, turn_texts=100) as to:
        async with asyncio.timeout(DEADLINE_S):
            while to._idle < 2:  # noqa: ASYNC110 - it comes true in other threads
                await asyncio.sleep(0.005)
        waiting = await ask(to, *texts)
        await model.begun()
        await model.begun()
        assert model.runs == [texts[:20], texts[20:]]
        # The thread whose run ends first takes everything, because the other one is busy.
        more = await ask(to, *texts)
        model.finish()
        assert await model.begun() == texts
        model.open.set()
        assert await waiting == await more == [f"{text}/None" for text in texts]


async def test_runs_and_the_time_in_the_queue_are_measured() -> None:
    registry = CollectorRegistry()
    model = HeldModel()
    model.open.set()
    async with batcher(model, registry, run_texts=2, turn_texts=2) as to:
        await to.classify(["word", "word", "word"], [None] * 3)

    def value(name: str) -> float:
        return cast(float, registry.get_sample_value(f"emostream_inference_{name}"))

    assert value("queue_seconds_count") == 1
    assert value("run_seconds_count") == 2
    assert (value("run_texts_count"), value("run_texts_sum")) == (2, 3)
    assert value("run_tokens_sum") == 9
