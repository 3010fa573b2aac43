"""What `emostream demo` shows on a terminal and in a file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from streams.cli.demo import STARTING, Display
from streams.errors import InputError
from streams.ops.demo.progress import Counts
from streams.ops.demo.run import DemoProgress, read_posts
from streams.settings import Settings


def test_an_input_without_a_usable_post_says_why(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text("text,created_at\n,\nso sad,yesterday\n")
    with pytest.raises(
        InputError, match=r"no post that can be used; empty_text: 1 \(line 2;.*; invalid_field: 1 \(line 3;"
    ):
        read_posts(posts, Settings())


def shown(*, terminal: bool, progress: list[DemoProgress]) -> str:
    out = Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None)
    with Display(out) as display:
        for each in progress:
            display.update(each)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


LOADING = [DemoProgress(produced=number, total=360) for number in (0, 40, 80)]
RUNNING = DemoProgress(produced=120, total=360, counts=Counts(classified=90, dead=1))


def test_a_file_says_once_that_the_worker_starts_and_then_how_far_the_posts_are() -> None:
    lines = shown(terminal=False, progress=[*LOADING, RUNNING, RUNNING]).splitlines()
    assert lines == [
        STARTING,
        "produced 120/360, classified 90, dead-lettered 1, in windows 0, in Postgres 0",
    ]


def test_a_terminal_says_that_the_worker_starts_until_the_first_post_is_classified() -> None:
    assert STARTING in shown(terminal=True, progress=LOADING)
    assert STARTING not in shown(terminal=True, progress=[RUNNING])
