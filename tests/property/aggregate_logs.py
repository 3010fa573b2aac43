"""Random logs of classified posts for the properties of the aggregate protocol, and the counts that they must give."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from streams.records import ClassifiedPost, is_from_source, to_ms
from streams.windows.recent import Horizons
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS, classified, message
from tests.property.aggregate_world import KEPT_S, MAX_FUTURE_S, NONE


@dataclass
class Expected:
    """The expected result: distinct posts, counted one by one."""

    tables: dict[WindowKey, dict[str, int]] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0

    def count(self, posts: list[ClassifiedPost], messages: list[Any], horizons: Horizons) -> None:
        origins, time = set(), -1
        sightings: dict[str, int] = {}
        for post, entry in zip(posts, messages, strict=True):
            appended = entry.timestamp()[1]
            horizon_ms = horizons.sources if is_from_source(entry.key()) else horizons.others
            again = horizon_ms > 0 and appended - sightings.get(post.id, -horizon_ms) <= horizon_ms
            sightings[post.id] = appended
            if post.origin.offset in origins:
                continue
            origins.add(post.origin.offset)
            if again:
                self.duplicates += 1
                continue
            at = to_ms(post.created_at)
            for size, kept in KEPT_S.items():
                start = at - at % (size * 1_000)
                if start + (size + kept) * 1_000 <= time:
                    self.late[size] += 1
                    continue
                for word in {"*", *post.keywords}:
                    self.add(WindowKey(word, size, start), post, at)
            time = max(time, at)

    def add(self, key: WindowKey, post: ClassifiedPost, at: int) -> None:
        row = self.tables.setdefault(key, {"first": at, "last": at})
        amounts = {"n": 1, "s:test": 1, **({} if post.lang is None else {f"g:{post.lang}": 1})}
        if post.label is None or post.confidence is None:
            amounts["u"] = 1
        else:
            amounts |= {f"l:{post.label}": 1, "m:1.0.0": 1, f"c:{post.label}": round(post.confidence * 1_000_000)}
        for name, amount in amounts.items():
            row[name] = row.get(name, 0) + amount
        row["first"], row["last"] = min(row["first"], at), max(row["last"], at)


def count_distinct(posts: list[list[ClassifiedPost]], logs: list[list[Any]], horizons: Horizons = NONE) -> Expected:
    expected = Expected()
    for of_partition, messages in zip(posts, logs, strict=True):
        expected.count(of_partition, messages, horizons)
    return expected


def make_log(seed: random.Random, partition: int) -> list[ClassifiedPost]:
    """Returns posts in raw order. Some origins are missing, and some posts come again, classified by another model."""
    log: list[ClassifiedPost] = []
    origin = -1
    for _ in range(seed.randrange(25)):
        if log and seed.random() < 0.25:
            again = seed.randrange(len(log))
            log += [
                structs.replace(post, label="fear", confidence=post.confidence or 0.5)
                for post in log[again : again + seed.randrange(1, 6)]
            ]
            continue
        origin += seed.choice([1, 1, 1, 2])
        if log and seed.random() < 0.25:
            # The producer sent this post twice: the same id and text under another offset.
            twice = log[seed.randrange(len(log))]
            log.append(structs.replace(twice, origin=structs.replace(twice.origin, offset=origin)))
            continue
        post = classified(
            origin,
            partition=partition,
            at=NOON_MS + seed.randrange(1_200_000),
            keywords=seed.sample(["coffee", "tea", "rain"], seed.randrange(3)),
            label=seed.choice(["joy", "anger", None]),
            lang=seed.choice(["en", "de", None]),
            confidence=seed.random(),
        )
        log.append(structs.replace(post, id=seed.choice(["", "rss:"]) + post.id))
    return log


def to_messages(log: list[ClassifiedPost], partition: int, seed: random.Random) -> list[Any]:
    offset, found, appended = 0, [], 0
    for post in log:
        value = post.to_json()
        # The broker's clock. No post may be ahead of it by more than `max_future_s`.
        appended = max(appended, to_ms(post.created_at) - seed.randrange(MAX_FUTURE_S * 1_000 + 1))
        found.append(
            message(
                value,
                offset=offset,
                partition=partition,
                topic="posts.classified",
                appended=appended,
                key=post.id.encode(),
            )
        )
        offset += seed.choice([1, 1, 1, 3])
    return found
