from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Literal

import pytest
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console

from streams.cli.label_styles import LabelStyles
from streams.cli.window_table import share_bar, windows_table
from streams.records import EmotionWindow, LabelStats, SentimentStats
from tests.helpers import NOON

COUNTS = {"joy": 620, "sadness": 1, "anger": 379}


def window(counts: dict[str, int] = COUNTS, sentiment: float | None = None, size: int = 60) -> EmotionWindow:
    return EmotionWindow(
        keyword="[red]\x1b[31mcoffee",
        size=size,
        start=NOON,
        end=NOON + timedelta(minutes=1),
        count=1_000,
        labels={name: LabelStats(count=count, pct=count / 10, mean_confidence=0.5) for name, count in counts.items()},
        sentiment=None if sentiment is None else SentimentStats(labels={"positive": 1_000}, mean_sentiment=sentiment),
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
    rows = lines([window()], width)
    assert len(rows) == 2, "one line for the header, one for the window"
    assert all(len(line) <= width for line in rows)
    assert "…" not in rows[0]
    assert "2026-03-01 12:00:00 ·" in rows[1]
    assert "1,000" in rows[1]
    assert [text for text in shown if text in rows[1]] == shown
    assert "\x1b" not in rows[1], "a keyword must not control the terminal"


@pytest.mark.parametrize("width", [80, 160])
def test_posts_in_other_languages_have_a_column_of_their_own(width: int) -> None:
    first = structs.replace(window(sentiment=0.25), unsupported=1_234)
    above, header, row, _ = lines([first, window(sentiment=0.25)], width)
    assert max(map(len, (above, header, row))) <= width
    assert header.split()[4:7] == ["ported", "mood", "share"]
    assert (above.strip(), above.index("unsup-")) == ("unsup-", header.index("ported"))
    assert "joy" in (header if width == 160 else row)
    assert [word for word in row.split() if word in {"1,000", "1,234", "+0.25"}] == ["1,000", "1,234", "+0.25"]
    assert "unsup" not in lines([window()], width)[0]


def console(width: int, system: Literal["standard", "256", "truecolor"] | None = None) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=system, force_terminal=system is not None)


def lines(
    windows: list[EmotionWindow], width: int, system: Literal["standard", "256", "truecolor"] | None = "truecolor"
) -> list[str]:
    """Returns the lines of the table, without the escape sequences of colours."""
    out = console(width, system)
    out.print(windows_table(windows, out))
    assert isinstance(out.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [80, 160])
def test_the_mean_sentiment_has_a_column(width: int) -> None:
    header, row, other = lines([window(sentiment=-0.418), window()], width)
    assert "mood" in header
    assert "1,000  -0.42  █" in row
    assert "joy 62 %" in row if width == 80 else " 62 %" in row
    assert "1,000         █" in other, "a window without sentiment has an empty cell"
    assert (header + row).count("…") == 1, "only the keyword, which is longer than any column, is cut"


def test_without_sentiment_there_is_no_column_for_it() -> None:
    assert "mood" not in lines([window()], 80)[0]


@pytest.mark.parametrize("width", [80, 200])
def test_labels_of_several_models_are_in_one_table(width: int) -> None:
    """Two models have different labels. A label neither controls the terminal nor is markup."""
    strange = {"größer als 🙂": 10, "[bold]": 5, "a\x1b[31mb": 1}
    text = "\n".join(lines([window(), window(strange)], width))
    assert "\x1b" not in text
    assert "größer als 🙂" in text
    assert all(cell_len(line) <= width for line in text.splitlines())
    if width == 200:
        assert "[bold]" in text
        assert text.count(r"a\x1b[31mb") == 1


def test_a_narrow_table_of_several_sizes_has_the_label_with_most_posts() -> None:
    rows = lines([window(sentiment=0.5), window(sentiment=0.5, size=3600)], 80)
    assert all(cell_len(row) <= 80 for row in rows)
    assert "  1h  " in rows[2]
    assert "+0.50" in rows[2]
    assert "joy" in rows[2]


@pytest.mark.parametrize("system", [None, "standard"])
def test_the_bar_is_always_full(system: Literal["standard"] | None) -> None:
    styles = LabelStyles(console(80, system), COUNTS)
    for cells in range(1, 40):
        assert len(share_bar(COUNTS, styles, cells).plain) == cells


@pytest.mark.parametrize("width", [80, 160])
def test_without_colours_the_bar_is_made_of_letters_that_a_line_explains(width: int) -> None:
    _, row, legend = lines([window({"joy": 620, "surprise": 130, "sadness": 250})], width, None)
    bar = "jjjjjjjjjsssuu" if width == 80 else "j" * 19 + "s" * 7 + "u" * 4
    assert bar in row
    assert legend.strip() == "share: j=joy, s=sadness, u=surprise"
    assert len(lines([window()], width)) == 2, "colours need no explanation"


@pytest.mark.parametrize("width", [80, 160])
def test_a_window_without_posts_is_a_row_without_shares(width: int) -> None:
    _, row, full = lines([window({}), window()], width)
    assert "█" not in row
    assert "█" in full
    assert lines([window({})], width)[1].startswith("2026-03-01 12:00:00")
