"""Running a command without AMX."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "without_amx.py"
ASKS = """
import ctypes
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, ARCH_GET_XCOMP_PERM, XTILEDATA = 158, 0x1023, 0x1022, 18
libc = ctypes.CDLL(None, use_errno=True)
asked = libc.syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA), ctypes.get_errno()
other = libc.syscall(ARCH_PRCTL, ARCH_GET_XCOMP_PERM, ctypes.byref(ctypes.c_uint64()))
print(*asked, other)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_a_process_and_its_children_are_refused_amx_and_nothing_else() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASKS!r}], check=True)"
    for code in (ASKS, child):
        result = run(sys.executable, "-c", code)
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            assert "AMX can be refused only on Linux and x86-64" in result.stderr
            return
        refused, number, other = map(int, result.stdout.split())
        assert (refused, number) == (-1, 1)
        # A kernel without AMX refuses this request itself.
        assert other in (0, -1)


def test_errors_are_one_line() -> None:
    for arguments, line in (((), "no command; usage: without_amx.py COMMAND"), (("/no/such/command",), "No such file")):
        result = run(*arguments)
        assert result.returncode == 1
        assert line in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert "COMMAND" in run("--help").stdout
