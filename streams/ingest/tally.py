"""Counts refused rows by reason, with the first lines and the first explanation of each reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streams.ingest.rows import Refusal, RefusalReason, Row

FIRST_LINES = 5
"""Lines that are kept for each reason."""


@dataclass
class _Entry:
    detail: str
    count: int = 0
    lines: list[int] = field(default_factory=list)


class Tally:
    """Counts the refusals of a run. Its size does not grow with the number of refusals.

    Attributes:
        passed_over: events of a shape that are no posts, as expected. They are not refusals.
        cleaned: rows in which U+FFFD stands for characters that cannot be stored.
    """

    def __init__(self) -> None:
        self.passed_over = 0
        self.cleaned = 0
        self._entries: dict[RefusalReason, _Entry] = {}

    def add(self, refusal: Refusal) -> None:
        """Count a refusal, or an event that is passed over."""
        if refusal.reason is RefusalReason.NOT_A_POST:
            self.passed_over += 1
            return
        entry = self._entries.setdefault(refusal.reason, _Entry(refusal.detail))
        entry.count += 1
        if len(entry.lines) < FIRST_LINES:
            entry.lines.append(refusal.line)

    def accepted(self, items: Iterable[Row | Refusal]) -> Iterator[Row]:
        """Yield the rows of `items`, and count the refusals."""
        for item in items:
            if isinstance(item, Refusal):
                self.add(item)
            else:
                self.cleaned += item.cleaned
                yield item

    @property
    def total(self) -> int:
        """The number of refused rows."""
        return sum(entry.count for entry in self._entries.values())

    def describe(self) -> list[str]:
        """Returns a line for each reason, the most frequent first."""
        return [
            f"{reason}: {entry.count} ({_lines(entry)}; {entry.detail})"
            for reason, entry in sorted(self._entries.items(), key=lambda item: -item[1].count)
        ]

    def as_json(self) -> dict[str, Any]:
        """Returns the JSON document `{reason: {count, lines, detail}}`.

        `lines` are the first lines with this reason, `detail` explains the first of them.
        """
        return {
            str(reason): {"count": entry.count, "lines": entry.lines, "detail": entry.detail}
            for reason, entry in self._entries.items()
        }


def _lines(entry: _Entry) -> str:
    shown = ", ".join(str(line) for line in entry.lines)
    return f"line{'s' if entry.count > 1 else ''} {shown}{', …' if entry.count > len(entry.lines) else ''}"
