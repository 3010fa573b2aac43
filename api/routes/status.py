"""The state of the whole application, in figures."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.guarded import needing
from api.models.status import StatusAnswer
from api.resources import Shared
from api.responses import problems
from streams.access.scopes import Scope

router = APIRouter(prefix="/v1", tags=["operation"], route_class=needing(Scope.READ))


@router.get("/status", responses=problems(401, 403, 429, 503))
async def status(response: Response, resources: Shared) -> StatusAnswer:
    """Returns what comes in, how late it is, what waits, and why.

    It comes within two seconds, whatever is away: a part whose server does not answer says so in its `problem`.
    """
    response.headers["Cache-Control"] = "no-store"
    return await resources.status.read()
