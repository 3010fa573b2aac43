"""The keywords with the most posts."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from api.guarded import needing
from api.models.windows import KeywordCount, KeywordsAnswer
from api.resources import Shared
from api.responses import json_answer, problems
from api.time_limits import redis_limit
from streams.access.scopes import Scope
from streams.query.rising import rising
from streams.windows.codec import to_window
from streams.windows.top import TopKeywords

router = APIRouter(prefix="/v1", tags=["windows"], route_class=needing(Scope.READ))

MAX_KEYWORDS = 500


@router.get("/keywords", response_model=KeywordsAnswer, responses=problems(401, 403, 422, 429, 503, has_etag=True))
async def keywords(
    request: Request,
    resources: Shared,
    *,
    order: Annotated[
        Literal["frequent", "rising"],
        Query(description="`frequent` for the most posts, `rising` for the most posts compared with the hour before."),
    ] = "frequent",
    limit: Annotated[int, Query(ge=1, le=MAX_KEYWORDS)] = 20,
) -> Response:
    """Returns the keywords with the most posts, or those that rise fastest.

    The counts are those of the latest window of the longest size. In order of `frequent`, `*` is all posts.
    """
    windows = resources.windows
    async with redis_limit():
        await windows.refresh()
        if order == "rising":
            rose = await rising(windows, limit)
            rows = [one.row for one in rose]
            rises: list[float | None] = [one.rise for one in rose]
        else:
            rows = await TopKeywords(windows).read(limit)
            rises = [None] * len(rows)
    found = [to_window(key, row) for key, row in rows]
    counts = [
        KeywordCount(
            rise=None if rise is None else round(rise, 2),
            keyword=window.keyword,
            count=window.count,
            unsupported=window.unsupported,
            labels={label: stats.count for label, stats in window.labels.items()},
            mean_sentiment=None if window.sentiment is None else window.sentiment.mean_sentiment,
        )
        for window, rise in zip(found, rises, strict=True)
    ]
    answer = KeywordsAnswer(
        start=found[0].start if found else None, end=found[0].end if found else None, keywords=counts
    )
    return json_answer(request, answer.model_dump_json().encode())
