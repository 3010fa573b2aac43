"""Tries a rule of alerts on the history."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter

from api.alert_answers import preview_answer
from api.guarded import needing
from api.models.alerts import AlertPreviewAnswer, AlertPreviewRequest
from api.problems import ProblemError
from api.resources import Shared
from api.responses import problems
from api.routes.alerts import checked_rule
from api.writing import WritingRoute
from models.errors import OverloadedError
from streams.access.scopes import Scope
from streams.alerts.backtest.preview import preview
from streams.errors import InputError

# It writes nothing. But it costs much, so pages of other origins may not ask for it either.
router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=needing(Scope.READ, WritingRoute))

PREVIEW_S = 10.0
"""Seconds that a preview may take."""


@router.post("/rules/preview", responses=problems(400, 401, 403, 413, 415, 422, 429, 503, 504))
async def preview_rule(resources: Shared, body: AlertPreviewRequest) -> AlertPreviewAnswer:
    """Try a rule on the history: which incidents it would have found. Nothing is stored, and nobody is told.

    A process makes one preview at a time, and a preview has ten seconds.
    """
    rule = checked_rule(resources, body.rule, id_=body.rule.id, within="rule")
    if resources.one_preview_at_a_time.locked():
        raise OverloadedError("another preview is being made", PREVIEW_S / 2)
    dsn = (resources.settings.api_postgres_dsn or resources.settings.postgres_dsn).get_secret_value()
    async with resources.one_preview_at_a_time:
        try:
            found = await asyncio.to_thread(preview, dsn, rule, hours=body.hours, only=body.keywords, limit_s=PREVIEW_S)
        except InputError as exc:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(exc), kind="invalid-request") from exc
    return preview_answer(found)
