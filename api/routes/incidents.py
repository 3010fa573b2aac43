"""The incidents that the rules of alerts have found."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from api.alert_answers import incident_answer, whole_incident_answer
from api.guarded import needing
from api.incident_place import MAX_CHARS, parse_place, place_of
from api.models.alerts import NAME, AlertIncidentAnswer, AlertIncidentsAnswer, Severity
from api.models.base import Keyword, Moment, Text
from api.pictures import draw_incident
from api.problems import ProblemError
from api.resources import Shared
from api.responses import json_answer, problems
from streams.access.scopes import Scope
from streams.alerts.storage import store
from streams.alerts.storage.store import alerts_connection
from streams.alerts.storage.stored import IncidentFilter

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=needing(Scope.READ))

_READ = (401, 403, 422, 429, 503)

MAX_INCIDENTS = 200
"""The most incidents of a page."""

MAX_KEY_CHARS = 500
"""The most characters of the key of an incident."""


@router.get("/incidents", response_model=AlertIncidentsAnswer, responses=problems(*_READ, has_etag=True))
async def incidents(
    request: Request,
    resources: Shared,
    *,
    state: Annotated[Literal["open", "closed", "all"], Query(description="`open`, `closed` or `all`.")] = "all",
    rule: Annotated[str | None, Query(pattern=NAME, description="Only those of this rule.")] = None,
    keyword: Annotated[Keyword | None, Query(description="Only those of this keyword.")] = None,
    severity: Annotated[Severity | None, Query(description="Only those of this severity.")] = None,
    since: Annotated[Moment | None, Query(description="Only those that were decided at this time or later.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_INCIDENTS)] = 50,
    before: Annotated[str | None, Query(max_length=MAX_CHARS, description="`next_before` of the page before.")] = None,
) -> Response:
    """Returns incidents, the newest decision first, a page at a time."""
    try:
        after = None if before is None else parse_place(before)
    except ValueError as exc:
        raise RequestValidationError([{"loc": ("query", "before"), "msg": str(exc)}]) from exc
    is_open = None if state == "all" else state == "open"
    wanted = IncidentFilter(rule=rule, keyword=keyword, severity=severity, open=is_open, since=since, after=after)
    async with alerts_connection(resources.postgres, "reading incidents") as connection:
        found = await store.read_incidents(connection, wanted, limit + 1)
    page = found[:limit]
    answer = AlertIncidentsAnswer(
        incidents=[incident_answer(one) for one in page],
        next_before=place_of(page[-1].decided, page[-1].incident) if len(found) > limit else None,
    )
    return json_answer(request, answer.model_dump_json().encode())


Key = Annotated[Text, Path(min_length=1, max_length=MAX_KEY_CHARS, description="The key of an incident.")]


# Before the incident itself, whose path would match this one too.
@router.get(
    "/incidents/{incident:path}/chart.png",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}}, "description": "A picture, 800 pixels wide."},
        **problems(*_READ, 404, has_etag=True),
    },
)
async def chart_of(request: Request, resources: Shared, incident: Key) -> Response:
    """Returns the course of an incident as a picture: its values, what is usual, and the limit."""
    async with alerts_connection(resources.postgres, "reading an incident") as connection:
        found = await store.read_incident(connection, incident)
    if found is None:
        raise _no_incident()
    etag = f'"{hashlib.blake2b(found.reason.to_json(), digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    picture = await resources.drawings.draw(lambda: draw_incident(found))
    return Response(picture, headers=headers, media_type="image/png")


@router.get(
    "/incidents/{incident:path}", response_model=AlertIncidentAnswer, responses=problems(*_READ, 404, has_etag=True)
)
async def incident_of(
    request: Request,
    resources: Shared,
    incident: Key,
) -> Response:
    """Returns an incident: why it is one, the words and the posts that moved the value, and what was told of it."""
    async with alerts_connection(resources.postgres, "reading an incident") as connection:
        found = await store.read_incident(connection, incident)
        deliveries = [] if found is None else await store.read_deliveries(connection, incident)
    if found is None:
        raise _no_incident()
    return json_answer(request, whole_incident_answer(found, deliveries).model_dump_json().encode())


def _no_incident() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "there is no incident with this key", kind="no-incident")
