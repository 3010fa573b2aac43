"""Decides which answers the warmer refreshes, and which new answer replaces an old one. Pure."""

from __future__ import annotations

from streams.query.answer import Answer
from streams.query.answer_codec import decode
from streams.query.answer_store import JITTER, Entry
from streams.records import RecordError

SHORTEST_ROUND_S = 1.0
LONGEST_ROUND_S = 15.0

_ROUNDS = 4
"""Rounds within the time for which an answer is good."""


def lifetime_s(*, keep_s: float, fresh_s: float) -> float:
    """Returns the seconds for which an answer is good: until it is stale, or expires at the earliest.

    If `fresh_s` is 0, every answer is stale at once. Then the warmer only keeps answers from expiring.
    """
    expires_s = keep_s * (1 - JITTER)
    return min(fresh_s, expires_s) if fresh_s > 0 else expires_s


def interval_s(lifetime_s: float) -> float:
    """Returns the seconds between the starts of two rounds."""
    return min(max(lifetime_s / _ROUNDS, SHORTEST_ROUND_S), LONGEST_ROUND_S)


def is_due(entry: Entry | None, *, now_ms: float, lifetime_s: float, next_look_s: float) -> bool:
    """Returns whether an answer is absent, or will not be good any more when it is looked at again.

    Args:
        entry: The stored answer; None if there is none.
        now_ms: The present time in ms since 1970.
        lifetime_s: Seconds for which an answer is good.
        next_look_s: Seconds until the next look. At most half of the lifetime counts, or an answer would be due as soon
            as it is made.
    """
    if entry is None:
        return True
    age_s = (now_ms - entry.made_at_ms) / 1_000
    return age_s + min(next_look_s, lifetime_s / 2) >= lifetime_s


def replaces(old: Entry | None, new: bytes, *, limit: int, searches: bool) -> bool:
    """Returns whether a new answer, which comes from windows and history alone, is stored in place of the old one.

    It is not in these cases:

    - A search could find more: the new answer has fewer posts than the limit of the question, and the HTTP service has
      sources to search. Stored again and again, it would keep the service from searching.
    - The old answer comes from a search, and counts more posts.
    - The old answer is complete and the new one is not, for example because a server was away.

    Args:
        old: The stored answer; None if there is none.
        new: The new answer, in the form in which it is stored.
        limit: The limit of the question.
        searches: Whether the HTTP service searches for posts if there are too few.
    """
    made = decode(new)
    if searches and made.count < limit:
        return False
    if old is None or (stored := _decoded(old)) is None:
        return True
    if stored.source == "inference" and stored.count > made.count:
        return False
    return made.complete or not stored.complete


def _decoded(entry: Entry) -> Answer | None:
    try:
        return decode(entry.value)
    except RecordError:
        return None
