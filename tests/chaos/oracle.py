"""Counts the expected windows from the raw topic, in a few lines that share no code with the application.

The records of each partition are counted in offset order. A post that can be read counts in each of its windows, unless
the window had expired: the latest event time of earlier posts in the partition is at least the window's retention after
the window's end.
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
    """The content of a window: posts by label and by source, and the first and last event time in milliseconds."""

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
    """The expected windows.

    Attributes:
        windows: Content of the windows that are still kept.
        late: Posts that came too late for a window, by window size.
        expired: Posts whose window has been removed since, by window size.
        unreadable: Records that are not JSON.
    """

    windows: dict[Key, Content] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    expired: Counter[int] = field(default_factory=Counter)
    unreadable: int = 0


def expected(raw: Iterable[tuple[int, bytes]]) -> Expected:
    """Returns what the windows must hold.

    Args:
        raw: Partition and value of the raw records, those of each partition in offset order.
    """
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
    # A window is removed when it has expired in every partition.
    for key in [key for key in found.windows if key[2] + (key[1] + KEPT_S[key[1]]) * 1_000 <= min(latest.values())]:
        content = found.windows.pop(key)
        if key[0] == "*":
            found.expired[key[1]] += content.labels.total()
    return found


def contents(windows: Iterable[EmotionWindow]) -> dict[Key, Content]:
    """Returns the content of the application's windows, in the form of `Expected.windows`."""
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
