"""Writes a comparison to files, and reports where they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness.report import Comparison, markdown

CHART_NEEDS = "matplotlib (pip install 'emostream[bench]')"
"""What drawing a chart needs, for messages."""


@dataclass(frozen=True)
class Files:
    """The files of a comparison.

    Attributes:
        json: All measurements.
        markdown: The tables.
        plot: The chart; None for no chart.
    """

    json: Path
    markdown: Path
    plot: Path | None

    @classmethod
    def choose(cls, folder: Path, json: Path | None, markdown: Path | None, plot: Path | None) -> Files:
        """Returns the given files. One that is None goes to a new folder in `folder`, named after the current time.

        Without matplotlib there is no chart.

        Raises:
            ValueError: `plot` is given, and matplotlib is not installed.
        """
        can_draw = find_spec("matplotlib") is not None
        if plot is not None and not can_draw:
            raise ValueError(f"--plot needs {CHART_NEEDS}")
        new = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        chart = plot or new / "systems.png"
        return cls(json or new / "systems.json", markdown or new / "systems.md", chart if can_draw else None)

    def write(self, comparison: Comparison) -> None:
        """Write all files, and make their folders.

        Raises:
            OSError: A file cannot be written.
        """
        text = json.dumps(comparison.to_dict(), indent=2) + "\n"
        for file, content in ((self.json, text), (self.markdown, markdown(comparison))):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        if self.plot is not None:
            from benchmarks.harness.plot import plot  # noqa: PLC0415 - loads matplotlib

            plot(comparison, self.plot)

    def report(self, comparison: Comparison, on_line: Callable[[str], None]) -> None:
        """Report which systems did not run, and which files were written."""
        for line in comparison.missing:
            on_line(f"did not run: {line}")
        if self.plot is None:
            on_line(f"no chart was drawn: it needs {CHART_NEEDS}")
        written = [str(file) for file in (self.json, self.markdown, self.plot) if file is not None]
        on_line(f"results were written to {', '.join(written)}")
