"""Makes the answers about alerts from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from api.models.alerts import (
    AlertDelivery,
    AlertIncident,
    AlertIncidentAnswer,
    AlertMute,
    AlertPreviewAnswer,
    AlertPreviewIncident,
    AlertRule,
    StoredAlertRule,
)
from streams.alerts.backtest.preview import Preview
from streams.alerts.backtest.result import Incident as PastIncident
from streams.alerts.storage.stored import Delivery, Incident, Mute, StoredRule
from streams.records import from_ms


def rule_answer(stored: StoredRule) -> StoredAlertRule:
    """Returns the answer about a rule."""
    rule = AlertRule.model_validate(stored.rule.model_dump(mode="json"))
    return StoredAlertRule(rule=rule, revision=stored.revision, changed_at=stored.changed_at.astimezone(UTC))


def mute_answer(stored: Mute, now: datetime) -> AlertMute:
    """Returns the answer about a mute at a moment."""
    return AlertMute(
        id=stored.id,
        rule=stored.rule,
        keyword=stored.keyword,
        until=stored.until.astimezone(UTC),
        reason=stored.reason,
        created_at=stored.created_at.astimezone(UTC),
        ended_at=_utc(stored.ended_at),
        active=stored.ended_at is None and stored.until > now,
    )


def incident_answer(stored: Incident) -> AlertIncident:
    """Returns an incident as a list has it."""
    return AlertIncident.model_validate(_members(stored), extra="ignore")


def whole_incident_answer(stored: Incident, deliveries: Sequence[Delivery]) -> AlertIncidentAnswer:
    """Returns an incident with its whole reason and its deliveries."""
    members = {**_members(stored), "deliveries": [_delivery(one) for one in deliveries]}
    return AlertIncidentAnswer.model_validate(members, extra="ignore")


def preview_answer(found: Preview) -> AlertPreviewAnswer:
    """Returns what a rule would have found."""
    result = found.found
    return AlertPreviewAnswer(
        since=from_ms(result.begin),
        until=from_ms(max(result.begin, result.end)),
        keywords=result.series,
        windows=result.windows,
        windows_too_small=result.too_small,
        windows_without_baseline=result.without_baseline,
        found=len(result.incidents),
        per_week=None if result.per_week is None else round(result.per_week, 3),
        notes=found.notes,
        incidents=[_preview_incident(one) for one in found.incidents],
    )


def _preview_incident(found: PastIncident) -> AlertPreviewIncident:
    opened, closed, reason = found.opened, found.closed, found.opened.reason
    return AlertPreviewIncident(
        keyword=opened.keyword,
        began=from_ms(opened.began),
        decided=from_ms(opened.decided),
        ended=None if closed is None else from_ms(closed.ended),
        ended_because=None if closed is None else closed.because,
        posts=reason.posts,
        value=reason.value,
        low=reason.low,
        high=reason.high,
        limit=reason.limit,
        usual=reason.usual,
        z=reason.z,
        summary=reason.summary,
    )


def _members(stored: Incident) -> dict[str, Any]:
    """Returns the members of both answers, and those of the reason."""
    reason: dict[str, Any] = from_json(stored.reason.to_json())
    return {
        "note": None,
        **reason,
        "incident": stored.incident,
        "state": "open" if stored.ended is None else "closed",
        "rule": stored.rule,
        "rule_name": stored.rule_name,
        "revision": stored.revision,
        "severity": stored.severity,
        "keyword": stored.keyword,
        "size": stored.size,
        "measure": stored.measure,
        "label": stored.label,
        "direction": stored.direction,
        "began": stored.began.astimezone(UTC),
        "decided": stored.decided.astimezone(UTC),
        "ended": _utc(stored.ended),
        "ended_because": stored.ended_because,
        "found_at": stored.found_at.astimezone(UTC),
        "explained_at": _utc(stored.explained_at),
        "muted": stored.muted,
    }


def _delivery(stored: Delivery) -> AlertDelivery:
    return AlertDelivery(
        event=stored.event,
        channel=stored.channel,
        state=stored.state,
        attempts=stored.attempts,
        due=stored.due_at.astimezone(UTC),
        last_error=stored.last_error,
        created_at=stored.created_at.astimezone(UTC),
        delivered_at=_utc(stored.delivered_at),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
