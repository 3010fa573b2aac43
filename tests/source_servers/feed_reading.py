"""Reads the source of feeds from its local server, in tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from connectors.sources.rss import RssOptions, RssSource
from connectors.sources.rss.schedule import Schedule
from tests.source_servers.feeds import item, rss

FAST = Schedule(interval_s=0.01, least_s=0.01, most_s=0.05)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READ = "of the feed are not new"
UNCHANGED = "the feed has not changed"


def source(*feeds: str, **changes: object) -> RssSource:
    options = RssOptions(feeds=feeds, schedule=FAST, allow_private=True)
    return RssSource(replace(options, **changes))  # type: ignore[arg-type]


def entry(number: int, text: str | None = None) -> str:
    date = NOON + timedelta(minutes=number)
    return item(text or f"entry {number}", guid=f"tag:{number}", link=f"https://e.example/{number}", date=date)


def page(*numbers: int) -> bytes:
    return rss(entry(number) for number in numbers)
