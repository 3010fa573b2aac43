"""The windows of a keyword, as they are in the tables now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.filters import refuse_unknown
from api.guarded import needing
from api.models.base import Keyword, Moment
from api.models.windows import WindowsAnswer
from api.resources import Shared
from api.responses import json_answer, problems
from api.time_limits import redis_limit
from streams.access.scopes import Scope
from streams.records import Timestamp, to_ms

router = APIRouter(prefix="/v1", tags=["windows"], route_class=needing(Scope.READ))

MAX_WINDOWS = 1_000
"""The most windows in one answer."""


@router.get(
    "/windows/{keyword:path}", response_model=WindowsAnswer, responses=problems(401, 403, 422, 429, 503, has_etag=True)
)
async def windows(
    request: Request,
    resources: Shared,
    *,
    keyword: Annotated[Keyword, Path(description="`*` stands for all posts.")],
    size: Annotated[int | None, Query(gt=0, description="Only windows of this size, in seconds.")] = None,
    since: Annotated[Moment | None, Query(description="Only windows that end after this time.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_WINDOWS)] = 100,
) -> Response:
    """Returns the latest windows of a keyword, each as on the topic `emotions.windows`; none for an unknown keyword.

    A size that is not configured is refused, unless there are still windows of it.
    """
    reader = resources.windows
    since_ms = None if since is None else to_ms(Timestamp.of(since))
    async with redis_limit():
        await reader.refresh()
        found = await reader.read(keyword=keyword, size=size, since_ms=since_ms, limit=limit)
    if not found:
        sizes = [one.seconds for one in resources.settings.window_sizes]
        refuse_unknown("size", size, sizes, "there are no windows of this size")
    return json_answer(request, b'{"windows":[' + b",".join(window.to_json() for window in found) + b"]}")
