"""Reads of many callers become few requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from connectors.errors import RejectedError, UnavailableError
from streams.query.coalescer import ReadCoalescer
from tests.helpers import until


class Store:
    """A store whose requests end when the test says so. The value of a key is the key."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def fetch(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.requests.append(list(keys))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [None if key == "absent" else key.encode() for key in keys]

    async def asked(self, requests: int) -> None:
        await until(lambda: len(self.requests) >= requests)


async def test_reads_of_one_turn_are_one_request_and_the_same_key_is_in_it_once() -> None:
    store = Store()
    store.gate.set()
    shared: list[int] = []
    reads = ReadCoalescer(store.fetch, on_coalesced=shared.append)
    found = await asyncio.gather(*(reads.read(key) for key in ("a", "b", "a", "absent", "b")))
    assert found == [b"a", b"b", b"a", None, b"b"]
    assert store.requests == [["a", "b", "absent"]]
    assert shared == [4]


async def test_reads_that_come_during_a_request_go_together_and_no_request_is_too_large() -> None:
    store = Store()
    reads = ReadCoalescer(store.fetch, most=3)
    first = reads.read("0")
    await store.asked(1)
    rest = [reads.read(str(number)) for number in range(1, 8)]
    again = reads.read("0")  # what the first request brings may be older than this read
    await asyncio.sleep(0)
    assert len(store.requests) == 1
    store.gate.set()
    assert await asyncio.gather(first, *rest, again) == [str(n).encode() for n in (*range(8), 0)]
    assert store.requests == [["0"], ["1", "2", "3"], ["4", "5", "6"], ["7", "0"]]


async def test_a_cancelled_read_leaves_the_others_alone() -> None:
    store = Store()
    reads = ReadCoalescer(store.fetch)
    one, other, waiting = reads.read("a"), reads.read("a"), reads.read("b")
    await store.asked(1)
    one.cancel()
    waiting.cancel()
    store.gate.set()
    assert await other == b"a"
    assert await reads.read("c") == b"c"


@pytest.mark.parametrize("error", [UnavailableError("away"), RejectedError("no rights")])
async def test_a_failure_goes_to_all_that_wait_and_the_next_read_asks_again(error: Exception) -> None:
    store = Store()
    store.error = error
    reads = ReadCoalescer(store.fetch)
    first = reads.read("a")
    await store.asked(1)
    behind = reads.read("b")
    store.gate.set()
    assert list(await asyncio.gather(first, behind, return_exceptions=True)) == [error, error]
    assert store.requests == [["a"]]
    store.error = None
    assert await reads.read("a") == b"a"


async def test_a_read_that_waits_for_too_long_fails() -> None:
    """Only those fail that were not sent in time: the request of the first one itself has a limit."""
    store = Store()
    reads = ReadCoalescer(store.fetch, most=1, longest_wait_s=0)
    first, second, third = (reads.read(key) for key in "abc")
    await store.asked(1)
    await asyncio.sleep(0.01)  # the clock advances
    store.gate.set()
    assert await first == b"a"
    for late in (second, third):
        with pytest.raises(UnavailableError, match="too slowly"):
            await late
    assert store.requests == [["a"]]


async def test_close_fails_what_waits_and_leaves_no_task() -> None:
    store = Store()
    reads = ReadCoalescer(store.fetch)
    first = reads.read("a")
    await store.asked(1)
    behind = reads.read("b")
    await reads.close()
    for read in (first, behind, reads.read("c")):
        with pytest.raises(UnavailableError, match="closed"):
            await read
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await reads.close()


async def test_a_defect_reaches_the_caller() -> None:
    store = Store()
    store.gate.set()
    store.error = KeyError("defect")
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    reads = ReadCoalescer(store.fetch)
    with pytest.raises(KeyError):
        await reads.read("a")
    assert reads._sender is None
