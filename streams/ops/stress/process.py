"""The program of a process that sends requests.

1. It opens its connections and sends `Ready`, or the reason why it cannot.
2. It gets the time at which the load begins.
3. It sends `Progress` every second, and at the end a `Tally` and its CPU time.

Ctrl-C reaches all processes of a terminal. This one ignores it: the parent tells it to stop, and it sends its tally. It
ends if the parent has gone.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

import uvloop

from streams.ops.stress.generator import Generator, Job
from streams.ops.stress.tally import Tally

STOP = "stop"


class Ready(NamedTuple):
    """The process has opened its connections. `error` says why it could not; empty if it could."""

    error: str = ""


class Finished(NamedTuple):
    """The load is over: what was counted, and the CPU seconds that the process needed since it began."""

    tally: Tally
    cpu_s: float


def main(pipe: Pipe, job: Job) -> None:
    """Send the requests of a job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_run(pipe, job))


async def _run(pipe: Pipe, job: Job) -> None:
    asyncio.get_running_loop().set_exception_handler(_end)
    generator = Generator(job, pipe.send)
    try:
        await generator.connect()
    except (OSError, TimeoutError) as exc:
        pipe.send(Ready(str(exc) or "timeout of connecting"))
        return
    started: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def on_message() -> None:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)  # the parent has gone
        if message == STOP:
            if started.done():
                generator.stop()
            else:
                os._exit(0)
        else:
            started.set_result(message)

    asyncio.get_running_loop().add_reader(pipe.fileno(), on_message)
    pipe.send(Ready())
    start = await started
    gc.collect()
    gc.freeze()
    before = time.process_time()
    tally = await generator.run(start)
    pipe.send(Finished(tally, time.process_time() - before))


def _end(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """End the process after a defect in a callback, whose request would otherwise never have an outcome."""
    loop.default_exception_handler(context)
    os._exit(1)
