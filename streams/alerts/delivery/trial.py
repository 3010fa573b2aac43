"""The message that `emostream alerts test` sends: an incident that never happened, and says so. Pure."""

from __future__ import annotations

import secrets
from datetime import timedelta

from connectors.notify.message import Message
from streams.alerts.delivery.texts import message_of
from streams.charts.alert_chart import alert_chart
from streams.charts.render import render
from streams.records import AlertPoint, AlertReason, AlertRecord, Timestamp

_SIZE_S = 300
_VALUES = (11.0, 12.5, 10.0, 13.0, 12.0, 11.5, 14.0, 12.0, 13.5, 31.0, 42.0, 41.0)
_USUAL = 12.0
_POSTS = 120


def trial_record(channel: str, now: Timestamp) -> AlertRecord:
    """Returns the record of an incident that never happened. Its key differs from call to call."""
    size = timedelta(seconds=_SIZE_S)
    first = now - len(_VALUES) * size
    points = tuple(AlertPoint(first + n * size, _POSTS, value, _USUAL) for n, value in enumerate(_VALUES))
    reason = AlertReason(
        value=_VALUES[-1],
        low=32.6,
        high=49.9,
        posts=_POSTS,
        limit=30.0,
        usual=_USUAL,
        summary=f"This is a test of the channel {channel}: nothing has happened.",
        points=points,
    )
    return AlertRecord(
        incident=f"test|{channel}|{_SIZE_S}|{now.rfc3339()}|{secrets.token_hex(4)}",
        event="opened",
        rule="test",
        rule_name="test",
        revision=1,
        severity="info",
        keyword="test",
        size=_SIZE_S,
        measure="emotion",
        label="anger",
        direction="above",
        began=points[-3].start,
        decided=now,
        reason=reason,
        at=now,
        channels=(channel,),
    )


def trial_message(channel: str, now: Timestamp, *, public_url: str | None, has_picture: bool) -> Message:
    """Returns its message."""
    record = trial_record(channel, now)
    picture = render(alert_chart(record), "png") if has_picture else None
    return message_of(record, public_url=public_url, picture=picture)
