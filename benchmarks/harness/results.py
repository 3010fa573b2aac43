"""Where a comparison is written, and what is said at its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness.report import Comparison, markdown

CHART_NEEDS = "matplotlib (pip install 'emostream[bench]')"


@dataclass(frozen=True)
class Files:
    """Where results are written.

    Attributes:
        json: everything.
        markdown: tables.
        plot: a chart; None for none.
    """

    json: Path
    markdown: Path
    plot: Path | None

    @classmethod
    def choose(cls, folder: Path, json: Path | None, markdown: Path | None, plot: Path | None) -> Files:
        """What was asked for; the others in a new folder below `folder`, named by the time. No matplotlib, no chart.

        Raises:
            ValueError: A chart was asked for that cannot be drawn.
        """
        drawn = find_spec("matplotlib") is not None
        if plot is not None and not drawn:
            raise ValueError(f"--plot needs {CHART_NEEDS}")
        new = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        chart = plot or new / "systems.png"
        return cls(json or new / "systems.json", markdown or new / "systems.md", chart if drawn else None)

    def write(self, found: Comparison) -> None:
        """Write everything.

        Raises:
            OSError: a file cannot be written.
        """
        text = json.dumps(found.to_dict(), indent=2) + "\n"
        for file, content in ((self.json, text), (self.markdown, markdown(found))):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        if self.plot is not None:
            from benchmarks.harness.plot import plot  # noqa: PLC0415 - loads matplotlib

            plot(found, self.plot)

    def tell(self, found: Comparison, tell: Callable[[str], None]) -> None:
        """Say what is where, and what is missing."""
        for line in found.missing:
            tell(f"left out: {line}")
        if self.plot is None:
            tell(f"no chart: it needs {CHART_NEEDS}")
        tell(f"written: {', '.join(str(file) for file in (self.json, self.markdown, self.plot) if file is not None)}")
