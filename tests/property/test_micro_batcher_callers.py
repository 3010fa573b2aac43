"""Every caller gets exactly its answers, in order, whatever the sizes, limits, failures, cancellations and order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from models.errors import ClassificationError, OverloadedError, RequestTooLargeError
from models.serving.metrics import BatchMetrics
from models.serving.micro_batcher import MicroBatcher
from models.serving.request_queue import BatchLimits, Request, RequestQueue

LIMITS = st.builds(
    BatchLimits,
    run_texts=st.integers(1, 8),
    run_tokens=st.integers(1, 60),
    turn_texts=st.integers(1, 5),
    waiting_texts=st.integers(1, 40),
    waiting_bytes=st.integers(1, 2_000),
)
SIZES = st.lists(st.lists(st.integers(0, 90), min_size=1, max_size=12), max_size=12)
"""For each request, the lengths of its texts."""


@given(LIMITS, SIZES, st.lists(st.integers(0, 11), max_size=4), st.integers(1, 4))
def test_runs_hold_each_text_once_in_order_and_keep_the_limits(
    limits: BatchLimits, sizes: list[list[int]], removed: list[int], threads: int
) -> None:
    queue: RequestQueue[int] = RequestQueue(limits)
    requests: list[Request[int]] = [
        Request(["x" * size for size in lengths], [None] * len(lengths), text_tokens=128) for lengths in sizes
    ]
    for request in requests:
        queue.add(request)
    gone = {requests[number] for number in removed if number < len(requests)}
    taken: dict[Request[int], list[int]] = {request: [] for request in requests}
    waited = set(requests)
    while queue:
        if gone and queue.texts % 2:  # some leave at the begin, and some between two runs
            request = gone.pop()
            queue.remove(request)
            waited.remove(request)
            continue
        first_turns = [request for request in requests if request in waited and not request.taken]
        run = queue.take(threads)
        assert run.texts
        assert len(run.texts) == len(run.stated) == sum(stop - start for _, start, stop in run.parts)
        assert len(run.texts) <= limits.run_texts
        assert run.tokens <= limits.run_tokens or len(run.texts) == 1
        assert run.tokens == sum(sum(request.tokens[start:stop]) for request, start, stop in run.parts)
        for request, start, stop in run.parts:
            assert request in waited
            assert stop - start <= limits.turn_texts
            taken[request] += range(start, stop)
        # Requests get their first turn in the order of their arrival.
        begun = [request for request in first_turns if request.taken]
        assert begun == first_turns[: len(begun)]
    for request in waited:
        assert taken[request] == list(range(len(request.texts)))
        queue.remove(request)
    assert (queue.texts, queue.bytes, queue.waiting_texts, queue.waiting_tokens) == (0, 0, 0, 0)


@settings(max_examples=60)
@given(
    LIMITS,
    SIZES,
    st.sets(st.integers(0, 11), max_size=3),
    st.sets(st.integers(0, 11), max_size=2),
    st.integers(1, 3),
    st.integers(0, 1_000),
)
def test_every_caller_gets_its_answers_or_its_error(
    limits: BatchLimits, sizes: list[list[int]], cancelled: set[int], bad: set[int], threads: int, seed: int
) -> None:
    requests = [[f"{number}.{row}.{'x' * size}" for row, size in enumerate(row)] for number, row in enumerate(sizes)]
    failed_runs: list[list[str]] = []
    over_budget: list[Sequence[str]] = []
    asked: list[str] = []

    def model(texts: Sequence[str], stated: Sequence[str | None]) -> list[str]:
        asked.extend(texts)
        sizes = [Request[str]([text], [None], text_tokens=limits.text_tokens).tokens[0] for text in texts]
        if len(texts) > 1 and (sum(sizes) > limits.run_tokens or len(texts) > limits.run_texts):
            over_budget.append(texts)
        if any(int(text.split(".")[0]) in bad for text in texts):
            failed_runs.append(list(texts))
            raise RuntimeError("a bad text")
        return [f"{text} in {tag}" for text, tag in zip(texts, stated, strict=True)]

    async def run() -> None:
        order = random.Random(seed)
        batcher = MicroBatcher(model, BatchMetrics(CollectorRegistry()), limits=limits, threads=threads)
        batcher.start()
        tasks = []
        for number, texts in enumerate(requests):
            tasks.append(asyncio.create_task(batcher.classify(texts, [str(row) for row in range(len(texts))])))
            for _ in range(order.randrange(3)):
                await asyncio.sleep(0)
            if number in cancelled:
                tasks[number].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.close(60)
        in_failed_runs = {int(text.split(".")[0]) for texts in failed_runs for text in texts}
        for number, (texts, outcome) in enumerate(zip(requests, outcomes, strict=True)):
            match outcome:
                case list():
                    assert outcome == [f"{text} in {row}" for row, text in enumerate(texts)]
                    assert number not in bad
                case asyncio.CancelledError():
                    assert number in cancelled
                case ClassificationError():
                    assert number in in_failed_runs
                case OverloadedError() | RequestTooLargeError():
                    assert not [text for text in asked if text.startswith(f"{number}.")]
                case _:
                    raise AssertionError(outcome)
        assert not over_budget
        assert len(asked) == len(set(asked))
        queue = batcher._queue
        assert (queue.texts, queue.bytes, queue.waiting_texts, queue.waiting_tokens) == (0, 0, 0, 0)

    asyncio.run(run())
