"""The table of emotion windows for the terminal, with a coloured bar of the labels' shares."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable, printable_name
from streams.cli.render import sentiment_text
from streams.records import EmotionWindow
from streams.window_sizes import format_duration

BLOCK = "█"
BAR_CELLS = 30
NARROW_BAR_CELLS = 14
NARROWEST_BAR_CELLS = 8
"""Width of the bar in a narrow table with sentiment, so that a row fits 80 characters."""

WIDE = 84
"""Characters of a row without its label columns: time, keyword, posts and the bar."""

MOOD_CELLS = 7
"""Characters of the column `mood`."""

UNSUPPORTED = "unsup-\nported"
"""The header of the column of unsupported posts. On one line it would leave no room for the share in 80 characters."""

UNSUPPORTED_CELLS = 8
"""Characters of this column."""


def share_bar(counts: dict[str, int], styles: LabelStyles, cells: int = BAR_CELLS) -> Text:
    """Returns a bar of `cells` characters, divided by the labels' shares; empty if there are no posts.

    The parts are blocks in the labels' colours; without colours each part repeats the label's letter. The largest
    remainders are rounded up, so that the bar always has `cells` characters.
    """
    total = sum(counts.values())
    bar = Text()
    if not total:
        return bar
    labels = styles.labels
    exact = {label: cells * counts.get(label, 0) / total for label in labels}
    widths = {label: int(width) for label, width in exact.items()}
    by_remainder = sorted(labels, key=lambda label: exact[label] - widths[label], reverse=True)
    for label in by_remainder[: cells - sum(widths.values())]:
        widths[label] += 1
    letters = styles.letters()
    for label in labels:
        bar.append((BLOCK if styles.has_colours else letters[label]) * widths[label], style=styles.of(label))
    return bar


def windows_table(windows: Sequence[EmotionWindow], console: Console) -> Table:
    """Returns a table with a row for each window; times are in UTC, and a dot marks a window that is still open.

    The table has a column for each label if the console is wide enough for them; else one column, with the label that
    has most posts. It has a column for unsupported posts, which are not among `posts`, if a window has some; and the
    column `mood`, the mean sentiment from -1 to 1, if a window has sentiment. If the console has no colours, a line
    below the table says which letter of the bars is which label.
    """
    styles = LabelStyles(console, (label for window in windows for label in window.labels))
    labels = styles.labels
    several_sizes = len({window.size for window in windows}) > 1
    has_unsupported = any(window.unsupported for window in windows)
    has_mood = any(window.sentiment is not None for window in windows)
    names = {label: printable(label) for label in labels}
    more = has_mood * MOOD_CELLS + has_unsupported * UNSUPPORTED_CELLS
    needed = WIDE + more + sum(max(cell_len(name), 5) + 2 for name in names.values())
    is_wide = console.width >= needed
    table = Table(box=None, pad_edge=False, header_style="dim")
    if labels and not styles.has_colours:
        letters = styles.letters().items()
        table.caption = Text("share: " + ", ".join(f"{letter}={names[label]}" for label, letter in letters))
        table.caption_justify = "left"
    table.add_column("window (UTC)", no_wrap=True)
    if several_sizes:
        table.add_column("size", justify="right", no_wrap=True)
    keyword_cells = 10 if has_unsupported and not is_wide else 16
    table.add_column("keyword", overflow="ellipsis", max_width=keyword_cells, no_wrap=True)
    table.add_column("posts", justify="right", no_wrap=True)
    optional = ((UNSUPPORTED, _unsupported, has_unsupported), ("mood", _mood, has_mood))
    shown = [(name, cell) for name, cell, is_shown in optional if is_shown]
    for name, _ in shown:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("share", no_wrap=True)
    if is_wide:
        for label in labels:
            style = styles.of(label)
            table.add_column(escape(names[label]), justify="right", header_style=style, no_wrap=True, min_width=5)
    else:
        table.add_column("most", no_wrap=True)
    for window in windows:
        counts = {label: stats.count for label, stats in window.labels.items()}
        cells: list[str | Text] = [f"{window.start:%Y-%m-%d %H:%M:%S}{' ' if window.final else ' ·'}"]
        if several_sizes:
            cells.append(format_duration(window.size))
        cells += [escape(printable_name(window.keyword)), f"{window.count:,}"]
        cells += [cell(window) for _, cell in shown]
        if is_wide:
            cells.append(share_bar(counts, styles))
            cells += [f"{window.labels[label].pct:.0f} %" if label in window.labels else "" for label in labels]
        else:
            share = _largest_share(window, styles)
            cells += [
                share_bar(counts, styles, NARROWEST_BAR_CELLS if has_mood or has_unsupported else NARROW_BAR_CELLS),
                share,
            ]
        table.add_row(*cells)
    return table


def _largest_share(window: EmotionWindow, styles: LabelStyles) -> Text:
    """Returns the label with most posts and its share, the first of equals; an empty text if there is no label."""
    counts = {label: stats.count for label, stats in window.labels.items()}
    top = max(counts, key=lambda label: (counts[label], -styles.labels.index(label)), default=None)
    if top is None:
        return Text()
    return Text(f"{printable(top)} {window.labels[top].pct:.0f} %", style=styles.of(top))


def _unsupported(window: EmotionWindow) -> str:
    return f"{window.unsupported:,}" if window.unsupported else ""


def _mood(window: EmotionWindow) -> str:
    return "" if window.sentiment is None else sentiment_text(window.sentiment.mean_sentiment)
