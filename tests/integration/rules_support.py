"""Rules, and rows of incidents, for tests of alerts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from streams.timestamps import Timestamp
from tests.integration.bi_support import NOON

WORDS = [{"word": "spilt", "score": 4.2, "now": 12, "before": 1}]
EXAMPLES = [{"id": "1", "source": "mastodon", "created_at": "2026-03-01T12:00:30.000Z", "text": "spilt my coffee"}]
POINTS = [{"start": "2026-03-01T12:00:00.000Z", "posts": 40, "value": 45.0}]


def a_rule(id_: str = "coffee-anger", **fields: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "name": "Anger about coffee",
        "keywords": ["coffee"],
        "window_s": 60,
        "measure": {"of": "volume"},
        "condition": {"type": "threshold", "limit": 40},
        **fields,
    }


def add_incident(
    dsn: str,
    began: datetime = NOON,
    *,
    rule: str = "coffee-anger",
    keyword: str = "coffee",
    severity: str = "warning",
    ended: datetime | None = None,
) -> str:
    """Store an incident as the evaluation does, and return its key."""
    decided = began + timedelta(minutes=2)
    incident = f"{rule}|{keyword}|60|{Timestamp.of(began).rfc3339()}"
    reason = {
        **{"value": 45.0, "low": 35.2, "high": 55.1, "posts": 40, "limit": 40.0, "usual": None, "z": None, "hours": 0},
        **{"summary": f"45 % of \u2068{keyword}\u2069", "words": WORDS, "examples": EXAMPLES, "points": POINTS},
    }
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO alert_incidents (incident, rule_id, revision, rule_name, severity, keyword, size_s, measure,
                label, direction, began_at, decided_at, ended_at, ended_because, value, usual, posts, reason)
            VALUES (%s, %s, 1, 'Anger', %s, %s, 60, 'emotion', 'anger', 'above', %s, %s, %s, %s, 45, NULL, 40, %s)
            """,
            (
                *(incident, rule, severity, keyword, began, decided, ended, None if ended is None else "cleared"),
                Jsonb(reason),
            ),
        )
        for channel in "", "ops":
            connection.execute(
                "INSERT INTO alert_outbox (incident, event, channel) VALUES (%s, 'opened', %s)", (incident, channel)
            )
    return incident


def toml(*rules: dict[str, Any]) -> str:
    """Rules as a rules file. JSON writes the same scalars and lists."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{ " + ", ".join(f"{name} = {value(part)}" for name, part in one.items()) + " }"
        return json.dumps(one)

    return "\n".join("[[rule]]\n" + "".join(f"{n} = {value(v)}\n" for n, v in rule.items()) for rule in rules)
