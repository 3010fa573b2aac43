"""The result of the last audit."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from api.guarded import needing
from api.models.audit import AuditAnswer
from api.problems import ProblemError
from api.resources import Shared
from api.responses import json_answer, problems
from streams.access.scopes import Scope
from streams.ops.audit.last import LastAudit

router = APIRouter(prefix="/v1", tags=["operation"], route_class=needing(Scope.READ))


@router.get("/audit", response_model=AuditAnswer, responses=problems(401, 403, 404, 429, 503, has_etag=True))
async def audit(request: Request, resources: Shared) -> Response:
    """Returns the result of the last `emostream audit`: whether a post was lost or counted twice.

    An audit reads all topics, so this call does not run one.
    """
    found = await LastAudit(resources.redis, resources.settings.redis_prefix).load()
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no audit was made yet; run `emostream audit`", kind="no-audit")
    return json_answer(request, found.to_json())
