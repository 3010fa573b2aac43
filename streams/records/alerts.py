"""The record of alerts: what an incident was when it began, and when it ended. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from streams.records.base import Record
from streams.records.values import Count
from streams.timestamps import Timestamp


class AlertWord(Record, frozen=True):
    """A word that the posts of an incident use more often, or less often, than those before.

    `score` is the weighted log-odds ratio (Monroe, Colaresi and Quinn 2008) in standard deviations: above 0 for a word
    that is more frequent now. `now` and `before` are numbers of posts with the word.
    """

    word: str
    score: float
    now: Count
    before: Count


class AlertPost(Record, frozen=True):
    """A post that is an example of what moved the value."""

    id: str
    source: str
    created_at: Timestamp
    text: str | None = None
    label: str | None = None
    confidence: float | None = None
    url: str | None = None


class AlertPoint(Record, frozen=True):
    """The value of one window; null for a window without data. `usual` is null for a rule without a baseline."""

    start: Timestamp
    posts: Count
    value: float | None = None
    usual: float | None = None


class AlertReason(Record, frozen=True, kw_only=True):
    """Why there is an incident.

    `value`, `usual`, `low` and `high` are in posts for a volume, and in percent for a share. `low` and `high` bound the
    interval of 95 % for the value. `usual` is what the series has at this hour of the day and week; null if the rule
    does not use it, or too few hours are known. `z` is the distance from it in robust standard deviations, and `hours`
    the number of hours that tell what is usual. `limit` is what the value had to pass. `note` says why there are no
    words and examples, or what they are chosen from; null if they are chosen from all posts.
    """

    value: float
    low: float
    high: float
    posts: Count
    limit: float
    usual: float | None = None
    z: float | None = None
    hours: Count = 0
    summary: str
    words: tuple[AlertWord, ...] = ()
    examples: tuple[AlertPost, ...] = ()
    note: str | None = None
    points: tuple[AlertPoint, ...] = ()


class AlertRecord(Record, frozen=True, kw_only=True):
    """An incident begins or ends (`alerts`, key = `incident`).

    `incident` is the same in each record of an incident, and in every repetition of a record; `incident` and `event`
    together identify a record. `began` is the start of the first window that fulfils the rule, and `decided` the end of
    the window with which the incident was certain, both in event time. `ended` is the end of the window that ended it.
    """

    incident: str
    event: Literal["opened", "closed"]
    rule: str
    rule_name: str
    revision: Count
    severity: Literal["info", "warning", "critical"]
    keyword: str
    size: Count
    measure: Literal["volume", "emotion", "sentiment"]
    label: str | None = None
    direction: Literal["above", "below"]
    began: Timestamp
    decided: Timestamp
    ended: Timestamp | None = None
    ended_because: str | None = None
    reason: AlertReason
    at: Timestamp
    muted: bool = False
    channels: tuple[str, ...] = field(default=())
