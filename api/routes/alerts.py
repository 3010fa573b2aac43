"""The rules of alerts, the mutes, and the channels that are told."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.alert_answers import mute_answer, rule_answer
from api.guarded import needing
from api.models.alerts import (
    NAME,
    AlertChannel,
    AlertChannelsAnswer,
    AlertMute,
    AlertMuteRequest,
    AlertMutesAnswer,
    AlertRule,
    AlertRulesAnswer,
    StoredAlertRule,
    UnreadableAlertRule,
)
from api.problems import ProblemError
from api.resources import Resources, Shared
from api.responses import json_answer, problems
from api.writing import WritingRoute, etag_of, has_revision, precondition
from streams.access.scopes import Scope
from streams.alerts.delivery.channels import read_channel_types
from streams.alerts.errors import RuleMissingError, TooManyError
from streams.alerts.rules.problems import RuleProblem, Served, problems_of, served_problems
from streams.alerts.rules.rule import Rule
from streams.alerts.storage import changes, store
from streams.alerts.storage.store import alerts_connection
from streams.classification.predictions import sentiment_head
from streams.errors import SettingsError
from streams.query.cached_engine import labels_of

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=needing(Scope.READ))
writing = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=needing(Scope.ALERTS, WritingRoute))

_READ = (401, 403, 422, 429, 503)
_WRITE = (400, 401, 403, 409, 413, 415, 422, 429, 503)

Id = Annotated[str, Path(pattern=NAME, description="Id of a rule.")]
Seen = Annotated[
    int | None,
    Query(ge=0, le=2**63 - 1, description="The revision that you have seen, 0 for none; 409 if there is another one."),
]


@router.get("/rules", response_model=AlertRulesAnswer, responses=problems(401, 403, 429, 503, has_etag=True))
async def rules(request: Request, resources: Shared) -> Response:
    """Returns all rules, in the order of their ids."""
    async with alerts_connection(resources.postgres, "reading the rules") as connection:
        found, unreadable = await store.read_rules(connection)
    answer = AlertRulesAnswer(
        rules=[rule_answer(one) for one in found],
        unreadable=[UnreadableAlertRule(id=one.id, error=one.error) for one in unreadable],
    )
    return json_answer(request, answer.model_dump_json().encode())


@router.get("/rules/{rule}", response_model=StoredAlertRule, responses=problems(*_READ, 404, has_etag=True))
async def rule_of(request: Request, resources: Shared, rule: Id) -> Response:
    """Returns a rule. Its ETag is its revision."""
    async with alerts_connection(resources.postgres, "reading a rule") as connection:
        found = await store.read_rule(connection, rule)
    if found is None:
        raise _no_rule(rule)
    headers = {"ETag": etag_of(found.revision), "Cache-Control": "no-cache"}
    if has_revision(request.headers.get("if-none-match"), found.revision):
        return Response(status_code=304, headers=headers)
    return Response(rule_answer(found).model_dump_json(), headers=headers, media_type="application/json")


@writing.put(
    "/rules/{rule}",
    response_model=StoredAlertRule,
    responses={201: {"model": StoredAlertRule, "description": "The rule is new."}, **problems(*_WRITE, 412)},
)
async def put_rule(request: Request, resources: Shared, rule: Id, body: AlertRule, revision: Seen = None) -> Response:
    """Make a rule, or replace it. A change ends its open incidents; the same rule again changes nothing.

    To undo nobody's change, send `If-Match` with the ETag that you have seen, `If-None-Match: *` for a new rule, or
    `revision`.
    """
    wanted = checked_rule(resources, body, id_=rule)
    try:
        async with alerts_connection(resources.writing, "storing a rule") as connection:
            stored, created = await changes.put_rule(connection, wanted, precondition(request, revision))
    except TooManyError as exc:
        raise _full(exc) from exc
    return Response(
        rule_answer(stored).model_dump_json(),
        HTTPStatus.CREATED if created else HTTPStatus.OK,
        {"ETag": etag_of(stored.revision), "Cache-Control": "no-store"},
        "application/json",
    )


@writing.delete("/rules/{rule}", status_code=204, responses=problems(401, 403, 404, 409, 412, 422, 429, 503))
async def delete_rule(request: Request, resources: Shared, rule: Id, revision: Seen = None) -> None:
    """Remove a rule. Its open incidents end, and its incidents stay in the history."""
    try:
        async with alerts_connection(resources.writing, "removing a rule") as connection:
            await changes.remove_rule(connection, rule, precondition(request, revision))
    except RuleMissingError as exc:
        raise _no_rule(rule) from exc


@router.get("/mutes", response_model=AlertMutesAnswer, responses=problems(*_READ, has_etag=True))
async def mutes(
    request: Request,
    resources: Shared,
    *,
    ended: Annotated[bool, Query(alias="all", description="Also those that have ended.")] = False,
) -> Response:
    """Returns the mutes that hold now, the newest first; at most 1,000."""
    async with alerts_connection(resources.postgres, "reading the mutes") as connection:
        found = await store.read_mutes(connection, ended=ended)
    now = datetime.now(UTC)
    answer = AlertMutesAnswer(mutes=[mute_answer(one, now) for one in found])
    return json_answer(request, answer.model_dump_json().encode())


@writing.post("/mutes", status_code=201, responses=problems(*_WRITE))
async def add_mute(resources: Shared, body: AlertMuteRequest) -> AlertMute:
    """Mute a rule, a keyword, or a keyword of a rule: incidents that begin are recorded, and told to no channel."""
    now = datetime.now(UTC)
    until = body.until if body.until is not None else now + timedelta(seconds=body.duration_s or 0)
    if not now < until <= now + changes.MAX_MUTE:
        raise _invalid([RuleProblem("until", f"is not in the future, or more than {changes.MAX_MUTE.days} days away")])
    try:
        async with alerts_connection(resources.writing, "storing a mute") as connection:
            stored = await changes.add_mute(
                connection, rule=body.rule, keyword=body.keyword, until=until, reason=body.reason
            )
    except RuleMissingError as exc:
        raise _invalid([RuleProblem("rule", str(exc))]) from exc
    except TooManyError as exc:
        raise _full(exc) from exc
    return mute_answer(stored, now)


@writing.delete("/mutes/{mute}", status_code=204, responses=problems(401, 403, 404, 422, 429, 503))
async def end_mute(resources: Shared, mute: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> None:
    """End a mute before its time. One that has ended stays as it is."""
    async with alerts_connection(resources.writing, "ending a mute") as connection:
        if await store.end_mute(connection, mute) is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no mute {mute}", kind="no-mute")


@router.get("/channels", response_model=AlertChannelsAnswer, responses=problems(401, 403, 429, 503, has_etag=True))
async def channels(request: Request, resources: Shared) -> Response:
    """Returns the names and the types of the channels that rules may name. Their addresses are secret."""
    found = [AlertChannel(name=name, type=kind) for name, kind in sorted(channel_types(resources).items())]
    return json_answer(request, AlertChannelsAnswer(channels=found).model_dump_json().encode())


def channel_types(resources: Resources) -> dict[str, str]:
    """Returns the types of the channels by their names. The file is read anew, so that a change needs no restart.

    Raises:
        ProblemError: The file cannot be read.
    """
    try:
        return read_channel_types(resources.settings.alert_channels)
    except SettingsError as exc:
        logger.warning("the file of EMOSTREAM_ALERT_CHANNELS cannot be used: %s", exc)
        message = "the file of EMOSTREAM_ALERT_CHANNELS cannot be used; the log of the service says why"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, message, kind="unavailable") from exc


def served(resources: Resources) -> Served:
    """Returns what the system has for rules."""
    models = resources.serving.current().all
    heads = [head for head in map(sentiment_head, models) if head is not None]
    return Served(
        sizes=[size.seconds for size in resources.settings.window_sizes],
        emotions=labels_of(models),
        sentiments=[label for head in heads for label in head.labels],
        channels=channel_types(resources),
    )


def checked_rule(resources: Resources, body: AlertRule, *, id_: str, within: str = "") -> Rule:
    """Returns the rule of a request.

    Args:
        resources: The resources of the process.
        body: The rule as it was sent.
        id_: The id that it must have.
        within: The member of the body that is the rule; empty for the body.

    Raises:
        RequestValidationError: It is not sound, or could not find anything.
    """
    if body.id != id_:
        raise _invalid([RuleProblem("id", f"is not the id in the address, {id_}")])
    try:
        rule = Rule.model_validate(body.model_dump(mode="json"))
    except ValidationError as exc:
        raise _invalid(problems_of(exc), within) from exc
    if found := served_problems(rule, served(resources)):
        raise _invalid(found, within)
    return rule


def _invalid(found: list[RuleProblem], within: str = "") -> RequestValidationError:
    return RequestValidationError(
        [{"loc": tuple(part for part in ("body", within, one.field) if part), "msg": one.what} for one in found]
    )


def _no_rule(id_: str) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, f"there is no rule {id_}", kind="no-rule")


def _full(exc: TooManyError) -> ProblemError:
    return ProblemError(HTTPStatus.CONFLICT, str(exc), kind="too-many")
