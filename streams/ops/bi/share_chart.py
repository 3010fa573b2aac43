"""Draws the stacked bars of emotions by keyword as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.charts.emotion_bars import Bar, emotion_bars
from streams.charts.render import render
from streams.charts.scene import Figure
from streams.charts.shares import Facts, Share
from streams.records import ALL_KEYWORDS

MAX_KEYWORDS = 20
"""The most keywords that are drawn: those with most posts."""

SCALE = 1.5
"""Pixels of the file for each pixel of the chart."""

WIDTH = 1000.0


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

    Raises:
        OSError: the file cannot be written.
    """
    picture = render(shares_figure(shares, subtitle=subtitle), "png", scale=SCALE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)


def shares_figure(shares: Sequence[KeywordShare], *, subtitle: str) -> Figure:
    """Returns the chart of `draw_shares`.

    The number of posts is beside each bar. After a plus there are the unsupported ones, which are not in the bar.
    """
    shown = shares[: MAX_KEYWORDS + 1]
    unsupported = any(share.unsupported for share in shown)
    return emotion_bars(
        [_bar(share) for share in shown],
        title="Emotions by keyword",
        subtitle=subtitle,
        note_title="posts +unsupported" if unsupported else "posts",
        width=WIDTH,
    )


def _bar(share: KeywordShare) -> Bar:
    is_all = share.keyword == ALL_KEYWORDS
    return Bar(
        Facts("all posts" if is_all else share.keyword, share.posts),
        [Share(label, 100 * count / max(share.posts, 1), count) for label, count in share.counts.items()],
        note=f"{share.posts:,}" + (f" +{share.unsupported:,}" if share.unsupported else ""),
        apart=is_all,
    )
