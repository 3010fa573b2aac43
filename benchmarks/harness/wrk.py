"""Runs wrk: a closed loop of clients, which shows the most that a server can do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.broker import BenchmarkError

_SCRIPT = """\
local bodies = {%s}
local number = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  number = number %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[number])
end
done = function(summary, latency, requests)
  io.write(string.format("found %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write,
    summary.errors.timeout, latency:percentile(95), latency:percentile(99)))
end
"""

_FOUND = re.compile(r"^found (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class WrkResult:
    """What wrk has counted.

    Attributes:
        requests: answers.
        seconds: how long it sent.
        failed: errors and statuses of 400 and above.
        p95_ms: 95th percentile of the latency, from sending.
        p99_ms: 99th percentile of the latency, from sending.
    """

    requests: int
    seconds: float
    failed: int
    p95_ms: float
    p99_ms: float


def is_installed() -> bool:
    """Returns whether there is a program wrk."""
    return shutil.which("wrk") is not None


def run_wrk(url: str, bodies: Sequence[object], *, clients: int, seconds: int, folder: Path) -> WrkResult:
    """Send POST requests with these bodies in turn, as fast as the answers come.

    Args:
        url: where to.
        bodies: the bodies, as JSON values.
        clients: number of connections, each with one request at a time.
        seconds: how long.
        folder: a folder for the script of wrk.

    Raises:
        BenchmarkError: wrk has failed.
    """
    script = folder / "wrk.lua"
    quoted = ", ".join(f"[==[{json.dumps(body, ensure_ascii=False)}]==]" for body in bodies)
    script.write_text(_SCRIPT % quoted, "utf-8")
    argv = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds + 60)
    found = _FOUND.search(ended.stdout)
    if ended.returncode or found is None:
        raise BenchmarkError(f"wrk failed: {(ended.stderr or ended.stdout).strip()[-300:]}")
    requests, us, errors, timeouts, p95, p99 = map(int, found.groups())
    return WrkResult(requests, us / 1e6, errors + timeouts, p95 / 1e3, p99 / 1e3)
