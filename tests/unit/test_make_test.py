"""`make test` runs both of its parts whatever comes of the first, and says in its last line which of them failed.

A stand-in takes the place of Python. It notes how pytest was called, and ends with the exit codes that it is given.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
NOTHING_SELECTED = 5
STAND_IN = f"""\
#!{sys.executable}
import json, os, sys
from pathlib import Path

if sys.argv[1] == "-c":
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
calls = Path(__file__).with_name("calls")
before = calls.read_text().splitlines() if calls.exists() else []
calls.write_text("\\n".join([*before, json.dumps(sys.argv[1:])]))
sys.exit(json.loads(Path(__file__).with_name("codes").read_text())[len(before)])
"""

SIDE_BY_SIDE, ALONE = "the tests that run side by side", "the tests that run alone"


class Made(NamedTuple):
    """Make's exit code and last line, and the arguments of each call of pytest."""

    code: int
    last_line: str
    calls: list[list[str]]


def make_test(folder: Path, *codes: int, pytest_args: str = "") -> Made:
    """Run `make test` with a pytest that ends with these exit codes, one after the other."""
    make = shutil.which("make")
    assert make is not None, "make is not installed"
    python = folder / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    (folder / "codes").write_text(json.dumps(codes))
    (folder / "installed").write_text(f"{ROOT}\n")
    # Those of a make that runs these tests hold its own PYTEST_ARGS.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [make, "test", f"PY={python}", f"STAMP={folder / 'installed'}", f"PYTEST_ARGS={pytest_args}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    lines = done.stdout.splitlines()
    calls = folder / "calls"
    return Made(
        done.returncode,
        lines[-1] if lines else "",
        [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else [],
    )


@pytest.mark.parametrize(
    ("codes", "last_line"),
    [
        ((0, 0), "make test: passed"),
        ((0, NOTHING_SELECTED), "make test: passed"),
        ((NOTHING_SELECTED, 0), "make test: passed"),
        ((NOTHING_SELECTED, NOTHING_SELECTED), "make test: no test was selected"),
    ],
)
def test_it_passes_where_no_part_failed(tmp_path: Path, codes: tuple[int, int], last_line: str) -> None:
    made = make_test(tmp_path, *codes)
    assert (made.code, made.last_line) == (0, last_line)
    assert [call[:4] for call in made.calls] == [
        ["-m", "pytest", "-m", "not alone"],
        ["-m", "pytest", "-m", "alone"],
    ]


@pytest.mark.parametrize(
    ("codes", "failed"),
    [
        ((1, 0), f"{SIDE_BY_SIDE} (exit code 1)"),
        ((0, 1), f"{ALONE} (exit code 1)"),
        ((1, 1), f"{SIDE_BY_SIDE} (exit code 1), and {ALONE} (exit code 1)"),
        ((3, NOTHING_SELECTED), f"{SIDE_BY_SIDE} (exit code 3)"),
        ((NOTHING_SELECTED, 2), f"{ALONE} (exit code 2)"),
    ],
)
def test_the_second_part_runs_in_any_case_and_the_last_line_names_what_failed(
    tmp_path: Path, codes: tuple[int, int], failed: str
) -> None:
    made = make_test(tmp_path, *codes)
    assert made.code != 0
    assert made.last_line == f"make test: failed: {failed}"
    assert len(made.calls) == 2


def test_arguments_may_hold_blanks_and_quotes(tmp_path: Path) -> None:
    made = make_test(tmp_path, 0, 0, pytest_args="""-k 'windows and not "late"' --durations=60""")
    assert made.code == 0
    for call in made.calls:
        assert call[-3:] == ["-k", 'windows and not "late"', "--durations=60"]


def test_arguments_that_the_shell_cannot_read_run_no_test(tmp_path: Path) -> None:
    made = make_test(tmp_path, 0, 0, pytest_args="-k 'windows")
    assert made.code != 0
    assert made.calls == []
