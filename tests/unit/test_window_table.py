from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console

from streams.cli.window_table import share_bar, windows_table
from streams.records import EmotionWindow, LabelStats
from tests.helpers import NOON

COUNTS = {"joy": 620, "sadness": 1, "anger": 379}


def window() -> EmotionWindow:
    return EmotionWindow(
        keyword="[red]\x1b[31mcoffee",
        size=60,
        start=NOON,
        end=NOON + timedelta(minutes=1),
        count=1_000,
        labels={name: LabelStats(count=count, pct=count / 10, avg_score=0.5) for name, count in COUNTS.items()},
        models={},
        sources={},
        first_event=NOON,
        last_event=NOON,
        revision=1,
        final=False,
        late=0,
    )


@pytest.mark.parametrize(("width", "shown"), [(80, ["joy 62 %"]), (140, ["62 %", "0 %", "38 %"])])
def test_a_row_fits_the_terminal_and_nothing_is_cut(width: int, shown: list[str]) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(windows_table([window()], width=width))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2, "one line for the header, one for the window"
    assert all(len(line) <= width for line in lines)
    assert "…" not in lines[0]
    assert "2026-03-01 12:00:00 ·" in lines[1]
    assert "1,000" in lines[1]
    assert [text for text in shown if text in lines[1]] == shown
    assert "\x1b" not in lines[1], "a keyword does not steer the terminal"


def test_the_bar_is_always_full() -> None:
    for cells in range(1, 40):
        assert len(share_bar(COUNTS, list(COUNTS), cells).plain) == cells
