"""What the windows must hold, counted from the raw topic by a few lines that share nothing with the application.

For each partition in offset order: a post that can be read counts in each of its windows, unless the latest event time
before it in the partition lies further beyond the window's end than the window is kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from streams.records import EmotionWindow

KEPT_S = {60: 2 * 86_400, 300: 7 * 86_400, 3_600: 30 * 86_400, 86_400: 400 * 86_400}
LABEL_OF = {"buy": "spam", "hello": "ham", "groß": "größer als 🙂"}
Key = tuple[str, int, int]


@dataclass
class Content:
    """A window: posts by label and by source, and the range of their times in milliseconds."""

    labels: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    first: int = 2**60
    last: int = 0

    def add(self, label: str, source: str, at: int) -> None:
        self.labels[label] += 1
        self.sources[source] += 1
        self.first, self.last = min(self.first, at), max(self.last, at)


@dataclass
class Expected:
    """What an endless memory would hold: `late` and `expired` are posts by window size."""

    windows: dict[Key, Content] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    expired: Counter[int] = field(default_factory=Counter)
    unreadable: int = 0


def expected(raw: Iterable[tuple[int, bytes]]) -> Expected:
    """Count the records, given as (partition, value) in offset order."""
    found = Expected()
    latest: dict[int, int] = {}
    for partition, value in raw:
        try:
            post = json.loads(value)
        except ValueError:
            found.unreadable += 1
            continue
        at = _ms(datetime.fromisoformat(post["created_at"]))
        for size, kept in KEPT_S.items():
            start = at // (size * 1_000) * size * 1_000
            if latest.get(partition, -1) >= start + (size + kept) * 1_000:
                found.late[size] += 1
                continue
            for keyword in {"*", *post["keywords"]}:
                content = found.windows.setdefault((keyword, size, start), Content())
                content.add(LABEL_OF[post["text"]], post["source"], at)
        latest[partition] = max(latest.get(partition, -1), at)
    # What every partition has left behind is removed.
    for key in [key for key in found.windows if key[2] + (key[1] + KEPT_S[key[1]]) * 1_000 <= min(latest.values())]:
        content = found.windows.pop(key)
        if key[0] == "*":
            found.expired[key[1]] += content.labels.total()
    return found


def contents(windows: Iterable[EmotionWindow]) -> dict[Key, Content]:
    """The same of the windows that the application holds."""
    return {
        (window.keyword, window.size, _ms(window.start)): Content(
            Counter({label: stats.count for label, stats in window.labels.items()}),
            Counter(window.sources),
            _ms(window.first_event),
            _ms(window.last_event),
        )
        for window in windows
    }


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)
