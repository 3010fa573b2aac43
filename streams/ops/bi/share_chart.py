"""Draws the stacked bars of emotions by keyword as a PNG."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from streams.ops.bi.palette import colour_of, label_order
from streams.records import ALL_KEYWORDS

INK = "#22262b"
MUTED = "#6b7178"
LABELLED_FROM = 7.0
"""The smallest share, in percent, whose segment has a number in it. The number does not fit into narrower segments."""

MAX_KEYWORDS = 20
"""The most keywords that are drawn: those with most posts."""

MAX_LABELS = 16
"""The most labels that are drawn. If there are more, those with fewest posts are drawn as one, `OTHER_LABELS`."""

OTHER_LABELS = "(other)"
OTHER_COLOUR = "#b4b9be"
MAX_NAME_CHARS = 18

LEGEND_IN, LEGEND_ROW_IN = 7.0, 0.24
"""Width of the legend beside the title, and height of a row of it, in inches."""
LEGEND_KEY_IN, LEGEND_CHAR_IN = 0.42, 0.075
"""Width of an entry of the legend, in inches: of the key with its margins, and of a character."""

HEADER_IN, FOOTER_IN, ROW_IN = 1.1, 0.65, 0.42
"""Height above the bars, below the bars, and of each bar, in inches."""


@dataclass(frozen=True)
class KeywordShare:
    """The posts of a keyword by label, and its unsupported posts, which have none."""

    keyword: str
    counts: dict[str, int]
    unsupported: int = 0

    @property
    def posts(self) -> int:
        """All posts of the keyword that have a label."""
        return sum(self.counts.values())


def draw_shares(shares: Sequence[KeywordShare], path: Path, *, subtitle: str) -> None:
    """Draw a horizontal bar for each keyword, divided into its labels' shares, and write the chart to `path`.

    Args:
        shares: all posts together first, then the keywords, most posts first.
        path: the PNG file; its folder is created if it does not exist.
        subtitle: the line below the title.

    The number of posts is beside each bar. After a plus there are the unsupported ones, which are not in the bar.
    """
    shown = fewer_labels(shares[: MAX_KEYWORDS + 1])
    labels = sorted(label_order(label for share in shown for label in share.counts), key=OTHER_LABELS.__eq__)
    longest = max((len(short_name(label)) for label in labels), default=0)
    columns = max(1, min(len(labels), int(LEGEND_IN / (LEGEND_KEY_IN + LEGEND_CHAR_IN * longest))))
    header = HEADER_IN + LEGEND_ROW_IN * max(0, math.ceil(len(labels) / columns) - 3)
    height = header + FOOTER_IN + ROW_IN * (len(shown) + 0.35)
    figure = Figure(figsize=(10, height), dpi=150)
    axes = figure.add_subplot()
    names = ["all posts" if share.keyword == ALL_KEYWORDS else short_name(share.keyword) for share in shown]
    # There is a gap below the bar of all posts.
    rows = [-index - (0.35 if index and shown[0].keyword == ALL_KEYWORDS else 0) for index in range(len(shown))]
    left = [0.0] * len(shown)
    keys: list[Patch] = []
    for label in labels:
        widths = [100 * share.counts.get(label, 0) / share.posts for share in shown]
        colour = OTHER_COLOUR if label == OTHER_LABELS else colour_of(label, labels)
        bars = axes.barh(rows, widths, left=left, height=0.74, color=colour)
        keys.append(Patch(color=colour))
        texts = [f"{width:.0f}" if width >= LABELLED_FROM else "" for width in widths]
        axes.bar_label(bars, texts, label_type="center", color="white", fontsize=8)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for row, share in zip(rows, shown, strict=True):
        more = f" +{share.unsupported:,}" if share.unsupported else ""
        axes.text(101, row, f"{share.posts:,}{more}", va="center", color=MUTED, fontsize=9)
    has_unsupported = any(share.unsupported for share in shown)
    header_of_posts = "posts +unsupported" if has_unsupported else "posts"
    axes.text(101, 0.62, header_of_posts, va="bottom", color=MUTED, fontsize=9)
    axes.set_yticks(rows, names, fontsize=10, color=INK)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the keyword's posts, percent", color=MUTED, fontsize=9)
    axes.tick_params(length=0, colors=INK)
    axes.tick_params(axis="x", colors=MUTED, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_ylim(min(rows) - 0.6, 0.6)
    figure.text(0.02, 1 - 0.3 / height, "Emotions by keyword", fontsize=15, color=INK, weight="bold", va="center")
    figure.text(0.02, 1 - 0.58 / height, subtitle, fontsize=9, color=MUTED, va="center")
    figure.legend(
        keys,
        [short_name(label) for label in labels],
        loc="upper right",
        ncols=columns,
        frameon=False,
        fontsize=9,
        handlelength=1,
        handleheight=1,
        columnspacing=1.2,
        borderaxespad=0,
        bbox_to_anchor=(0.99, 1 - 0.12 / height),
    )
    figure.subplots_adjust(
        left=0.17, right=0.85 if has_unsupported else 0.93, top=1 - header / height, bottom=FOOTER_IN / height
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(path)


def fewer_labels(shares: Sequence[KeywordShare]) -> list[KeywordShare]:
    """Returns the shares with at most `MAX_LABELS` labels; those with fewest posts are summed as `OTHER_LABELS`."""
    totals: Counter[str] = Counter()
    for share in shares:
        totals.update(share.counts)
    if len(totals) <= MAX_LABELS:
        return list(shares)
    kept = {label for label, _ in totals.most_common(MAX_LABELS - 1)}
    return [
        KeywordShare(
            share.keyword,
            {label: posts for label, posts in share.counts.items() if label in kept}
            | {OTHER_LABELS: sum(posts for label, posts in share.counts.items() if label not in kept)},
            share.unsupported,
        )
        for share in shares
    ]


def short_name(name: str) -> str:
    """Returns a keyword or a label cut to `MAX_NAME_CHARS`, and escaped for matplotlib."""
    # matplotlib takes a dollar sign for the beginning of a formula.
    name = name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "…"
    return name.replace("$", r"\$")
