"""Identical questions that come at the same time are one computation."""

from __future__ import annotations

import asyncio
import logging

import pytest

from connectors.errors import UnavailableError
from streams.errors import ShuttingDownError
from streams.query.single_flight import Flight, SingleFlight
from tests.helpers import until


class Job:
    """A job that ends when the test says so."""

    def __init__(self) -> None:
        self.runs = 0
        self.ended = asyncio.Event()
        self.result: str | Exception = "answer"

    async def __call__(self, flight: Flight[str]) -> str:
        self.runs += 1
        await self.ended.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def callers(flights: SingleFlight[str], job: Job, number: int, key: str = "key") -> list[asyncio.Task[str]]:
    """Returns callers that wait."""
    tasks = [asyncio.create_task(flights.run(key, job)) for _ in range(number)]
    await until(lambda: bool(job.runs))
    return tasks


async def test_all_callers_share_one_run_and_the_next_one_starts_another() -> None:
    joined: list[None] = []
    flights: SingleFlight[str] = SingleFlight(on_joined=lambda: joined.append(None))
    job = Job()
    waiting = await callers(flights, job, 200)
    job.ended.set()
    assert await asyncio.gather(*waiting) == ["answer"] * 200
    assert (job.runs, len(joined), len(flights)) == (1, 199, 0)
    assert await flights.run("key", job) == "answer"
    assert job.runs == 2


async def test_different_keys_run_at_the_same_time() -> None:
    flights: SingleFlight[str] = SingleFlight()
    jobs = [Job() for _ in range(3)]
    waiting = [(await callers(flights, job, 1, key=str(number)))[0] for number, job in enumerate(jobs)]
    assert len(flights) == 3
    for job in reversed(jobs):
        job.ended.set()
    assert await asyncio.gather(*waiting) == ["answer"] * 3


async def test_a_cancelled_caller_does_not_end_it_for_the_others() -> None:
    flights: SingleFlight[str] = SingleFlight()
    job = Job()
    first, second, third = await callers(flights, job, 3)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    job.ended.set()
    assert [await second, await third] == ["answer"] * 2
    assert job.runs == 1


async def test_it_goes_on_without_callers_and_a_new_one_joins_it() -> None:
    flights: SingleFlight[str] = SingleFlight()
    job = Job()
    wanted: list[bool] = []

    async def watched(flight: Flight[str]) -> str:
        wanted.append(flight.is_wanted)
        answer = await job(flight)
        wanted.append(flight.is_wanted)
        return answer

    (only,) = [asyncio.create_task(flights.run("key", watched))]
    await until(lambda: bool(job.runs))
    only.cancel()
    await asyncio.wait([only])
    job.ended.set()
    assert await flights.run("key", job) == "answer"
    assert job.runs == 1
    assert wanted == [True, True]


async def test_an_exception_goes_to_all_callers_and_is_not_kept() -> None:
    flights: SingleFlight[str] = SingleFlight()
    job = Job()
    job.result = UnavailableError("away")
    waiting = await callers(flights, job, 3)
    job.ended.set()
    assert await asyncio.gather(*waiting, return_exceptions=True) == [job.result] * 3
    job.result = "answer"
    assert await flights.run("key", job) == "answer"


async def test_a_failure_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    flights: SingleFlight[str] = SingleFlight()
    user_error, defect = Job(), Job()
    user_error.result, defect.result = UnavailableError("Redis is away"), KeyError("x")
    for key, job in (("a", user_error), ("b", defect)):
        job.ended.set()
        flights.start(key, job)
        flights.start(key, job)
    await until(lambda: not len(flights))
    assert (user_error.runs, defect.runs) == (1, 1)
    assert [(r.levelno, bool(r.exc_info)) for r in caplog.records] == [(logging.WARNING, False), (logging.ERROR, True)]


async def test_close_ends_all_jobs_and_their_callers_are_told() -> None:
    flights: SingleFlight[str] = SingleFlight()
    jobs = [Job(), Job()]
    waiting = await callers(flights, jobs[0], 2, key="a")
    flights.start("b", jobs[1])
    before = asyncio.all_tasks()
    await flights.close()
    assert {type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)} == {ShuttingDownError}
    assert len(flights) == 0
    assert asyncio.all_tasks() & before == {asyncio.current_task()}
    with pytest.raises(ShuttingDownError):
        await flights.run("a", jobs[0])
    flights.start("b", jobs[1])
    assert len(flights) == 0
    await flights.close()
