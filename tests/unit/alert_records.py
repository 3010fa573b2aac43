"""Records of incidents for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from streams.records import AlertPoint, AlertPost, AlertReason, AlertRecord, AlertWord, Timestamp

BEGAN = Timestamp.parse("2026-03-01T12:00:00Z")


def reason(**changes: Any) -> AlertReason:
    points = tuple(
        AlertPoint(BEGAN - timedelta(minutes=5 * (24 - n)), 80 + n, 10 + (n % 5) + max(0, n - 20) * 6.0, 12 + n / 10)
        for n in range(26)
        if n != 10
    )
    fields: dict[str, Any] = {
        "value": 41.25,
        "low": 36.0,
        "high": 46.75,
        "posts": 320,
        "limit": 30.0,
        "usual": 12.0,
        "z": 8.125,
        "hours": 18,
        "summary": "anger rose to 41.3 % of 320 posts about \u2068coffee\u2069.",
        "words": (AlertWord("queue", 6.5, 40, 3), AlertWord("nice", -4.0, 1, 30)),
        "examples": (AlertPost("1", "rss", BEGAN, "the queue!", "anger", 0.9, "https://example.com/1"),),
        "points": points,
    }
    return AlertReason(**{**fields, **changes})


def record(**changes: Any) -> AlertRecord:
    fields: dict[str, Any] = {
        "incident": "angry-coffee|coffee|300|2026-03-01T12:00:00.000Z",
        "event": "opened",
        "rule": "angry-coffee",
        "rule_name": "Coffee makes angry",
        "revision": 3,
        "severity": "warning",
        "keyword": "coffee",
        "size": 300,
        "measure": "emotion",
        "label": "anger",
        "direction": "above",
        "began": BEGAN,
        "decided": BEGAN + timedelta(minutes=10),
        "reason": reason(),
        "at": BEGAN + timedelta(minutes=10, seconds=3),
        "channels": ("ops",),
    }
    return AlertRecord(**{**fields, **changes})
