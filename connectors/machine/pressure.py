"""Linux pressure stall information: for how long tasks waited for the processor, for I/O and for memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

RESOURCES: Final = ("cpu", "io", "memory")
"""The resources that the kernel reports stalls for, in the order of the numbers of `read_stalls`."""


def read_stalls(files: Sequence[Path]) -> tuple[float, ...]:
    """Returns the seconds in which some task stalled, one number per file; empty if a file is missing or malformed."""
    try:
        return tuple(parse_stalls(file.read_text("ascii")) for file in files)
    except (OSError, ValueError):
        return ()


def parse_stalls(text: str) -> float:
    """Returns the seconds in which some task stalled, from a pressure file (kernel documentation, accounting/psi).

    Raises:
        ValueError: The text has no line that begins with `some`, or its total is not a number.
    """
    for line in text.splitlines():
        if line.startswith("some "):
            return int(line.rpartition("total=")[2]) / 1e6
    raise ValueError("no line `some`")
