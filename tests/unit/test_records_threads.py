"""Threads may read the first record of a kind at the same time. msgspec alone ends the process then, by SIGSEGV."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
from msgspec import defstruct
from streams.records.base import Record

def read(kind, barrier, number):
    barrier.wait()
    if number % 2:
        kind.from_json(b'{"inner": {"number": 1}, "inners": [{"number": 2}], "named": {"a": {"number": 3}}}')
    else:
        kind.from_fields({"inner": {"number": 1}, "inners": [{"number": 2}], "named": {"a": {"number": 3}}})

sys.setswitchinterval(1e-6)
for _ in range(200):
    inner = defstruct("Inner", [("number", int), ("text", str, "")], bases=(Record,), frozen=True, gc=False)
    fields = [("inner", inner), ("inners", list[inner]), ("named", dict[str, inner])]
    kind = defstruct("Kind", fields, bases=(Record,), frozen=True, gc=False)
    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=read, args=(kind, barrier, number)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_read_the_first_record_of_a_kind_at_the_same_time() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
