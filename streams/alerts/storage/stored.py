"""What Postgres stores of alerts: rules, mutes, incidents and deliveries, as the code reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from streams.alerts.rules.rule import Rule
from streams.records import AlertReason, AlertRecord, Timestamp

Event = Literal["opened", "closed"]
DeliveryState = Literal["waiting", "delivered", "failed", "muted"]

MAX_EXAMPLES = 5
"""The most example posts of an incident."""

TOPIC_CHANNEL = ""
"""The channel of an outbox row that stands for the topic of alerts."""


class StoredRule(NamedTuple):
    """A rule as it is stored.

    Attributes:
        rule: the rule.
        revision: its revision. Each change raises it by one.
        changed_at: when it got this revision.
    """

    rule: Rule
    revision: int
    changed_at: datetime


class UnreadableRule(NamedTuple):
    """A stored rule that this version cannot read: its id, and why."""

    id: str
    error: str


class Mute(NamedTuple):
    """A mute: incidents that begin before `until` are recorded, and no channel is told.

    Attributes:
        id: its number.
        rule: the id of a rule; None for every rule.
        keyword: a keyword; None for every keyword.
        until: when it ends.
        reason: why, for people; may be empty.
        created_at: when it was made.
        ended_at: when somebody ended it before its time; None if nobody did.
    """

    id: int
    rule: str | None
    keyword: str | None
    until: datetime
    reason: str
    created_at: datetime
    ended_at: datetime | None


class Incident(NamedTuple):
    """An incident as it is stored. `began`, `decided` and `ended` are in event time, the others by Postgres's clock.

    Attributes:
        incident: its key.
        rule, revision, rule_name, severity: the rule, as it was when the incident began.
        keyword, size, measure, label, direction: what was measured; `size` is in seconds.
        began: start of the first window that fulfils the rule.
        decided: end of the window with which the incident was certain.
        ended: end of the window that ended it; None while it is open.
        ended_because: why it ended.
        muted: whether a mute applied when it began.
        reason: why it began.
        explained_at: when words and posts were added to the reason; None until then.
        found_at: when it was stored.
    """

    incident: str
    rule: str
    revision: int
    rule_name: str
    severity: Literal["info", "warning", "critical"]
    keyword: str
    size: int
    measure: Literal["volume", "emotion", "sentiment"]
    label: str | None
    direction: Literal["above", "below"]
    began: datetime
    decided: datetime
    ended: datetime | None
    ended_because: str | None
    muted: bool
    reason: AlertReason
    explained_at: datetime | None
    found_at: datetime

    def record(self, event: Event, *, at: datetime, channels: tuple[str, ...] = ()) -> AlertRecord:
        """Returns the record of the start or the end.

        Args:
            event: which of both.
            at: when it was decided, by Postgres's clock: `created_at` of its delivery. The same in each repetition.
            channels: the channels that are told.
        """
        is_end = event == "closed"
        return AlertRecord(
            incident=self.incident,
            event=event,
            rule=self.rule,
            rule_name=self.rule_name,
            revision=self.revision,
            severity=self.severity,
            keyword=self.keyword,
            size=self.size,
            measure=self.measure,
            label=self.label,
            direction=self.direction,
            began=Timestamp.of(self.began),
            decided=Timestamp.of(self.decided),
            ended=Timestamp.of(self.ended) if is_end and self.ended is not None else None,
            ended_because=self.ended_because if is_end else None,
            reason=self.reason,
            at=Timestamp.of(at),
            muted=self.muted,
            channels=channels,
        )


class Explanation(NamedTuple):
    """Why an incident began, with words and posts, before it is stored.

    Attributes:
        reason: the reason. It has more examples than are told, because some may be erased.
        authors: the authors of the examples by the ids of the posts, as posts have them; unknown ones are left out.
    """

    reason: AlertReason
    authors: Mapping[str, str] = {}


class Delivery(NamedTuple):
    """A row of the outbox: an event of an incident that a channel is told.

    Attributes:
        id: its number.
        incident: the key of the incident.
        event: `opened` or `closed`.
        channel: the name of the channel; `TOPIC_CHANNEL` for the topic.
        state: `waiting` until it is `delivered` or has `failed`.
        attempts: tries that began, this one included.
        due_at: when the next try begins; during a try, when another process may try.
        last_error: why the last try failed; None if none did.
        created_at: when the event was decided.
        delivered_at: when it was delivered.
    """

    id: int
    incident: str
    event: Event
    channel: str
    state: DeliveryState
    attempts: int
    due_at: datetime
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


class Backlog(NamedTuple):
    """Deliveries that wait, those that failed for good, and the age in seconds of the oldest one that waits."""

    waiting: int
    failed: int
    oldest_s: float


@dataclass(frozen=True, kw_only=True)
class IncidentFilter:
    """Which incidents to list; None for any.

    Attributes:
        rule: of this rule.
        keyword: of this keyword.
        severity: of this severity.
        open: only those that are open, or only those that have ended.
        since: decided at this event time or later.
        until: decided before this event time.
        after: only those that come after this incident in the list: its `decided` and its key.
    """

    rule: str | None = None
    keyword: str | None = None
    severity: str | None = None
    open: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, str] | None = None
