"""Draws confusion matrices: the answers to the posts with each label, in percent of these posts and in posts.

The colours go from light to dark in one hue, so that they can be read with any colour vision and in print.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from models.errors import ModelError
from models.training.report import TITLES, Report, Score

_INK: Final = "#22262b"
_MUTED: Final = "#6b7178"
_CELL_IN: Final = 0.72
"""Width of a cell in inches: room for a percentage above a count of five digits."""

_MARGIN_IN: Final = 1.9
_DARK_FROM: Final = 70
"""Percentage from which a cell is so dark that its text is white."""

_MAX_NAME_CHARS: Final = 16

_MAX_LABELS: Final = 60
"""Greatest number of labels: a picture with more cells would be too large to display."""


def draw_all(report: Report, folder: Path) -> list[Path]:
    """Draw the matrix of every question into ``folder/NAME.png``. Existing files are replaced.

    Args:
        report: The results of an evaluation.
        folder: The folder; created if it does not exist.

    Returns:
        The files.

    Raises:
        OSError: The folder cannot be created, or a file cannot be written.
        ModelError: A question has too many labels to draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_saved(score, report, folder / f"{score.name}.png") for score in report.scores]


def draw(score: Score, subtitle: str) -> Figure:
    """Draw the matrix of one question.

    Raises:
        ModelError: The question has too many labels to draw.
    """
    if len(score.labels) > _MAX_LABELS:
        raise ModelError(f"{score.name} has {len(score.labels)} labels; at most {_MAX_LABELS} can be drawn")
    counts = np.array(score.confusion)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = _CELL_IN * len(counts)
    width, height = max(side + _MARGIN_IN, 5.2), side + _MARGIN_IN
    figure = Figure(figsize=(width, height), dpi=150)
    axes = figure.add_axes((1.25 / width, 1.1 / height, side / width, side / height))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        if counts[row, column]:
            colour = "white" if share > _DARK_FROM else _INK
            axes.text(column, row - 0.12, f"{share:.0f} %", fontsize=10, color=colour, ha="center", va="center")
            axes.text(
                column, row + 0.24, f"{counts[row, column]:,}", fontsize=7, color=colour, ha="center", va="center"
            )
    names = list(_shown(score.labels))
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor", color=_INK)
    axes.set_yticks(range(len(names)), names, color=_INK)
    axes.set_xlabel("the model's answer", color=_MUTED)
    axes.set_ylabel("the post's label", color=_MUTED)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.text(0.02, 1 - 0.24 / height, _plain(score.name), fontsize=13, color=_INK, weight="bold", va="center")
    figure.text(0.02, 1 - 0.5 / height, _plain(subtitle), fontsize=8, color=_MUTED, va="center")
    return figure


def _saved(score: Score, report: Report, file: Path) -> Path:
    figure, value = score.headline
    subtitle = f"{report.model} {report.version}, {report.split}: {TITLES[figure]} {value:.4f} on {score.rows:,} posts"
    draw(score, subtitle).savefig(file)
    return file


def _shown(labels: Iterable[str]) -> Iterable[str]:
    for label in labels:
        yield _plain(label if len(label) <= _MAX_NAME_CHARS else label[: _MAX_NAME_CHARS - 1] + "…")


def _plain(text: str) -> str:
    # matplotlib takes an unescaped dollar sign for the beginning of a formula.
    return text.replace("$", r"\$")
