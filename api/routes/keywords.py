"""The keywords with the most posts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from streams.access.scopes import Scope

from api.guarded import needing
from api.models.windows import KeywordCount, KeywordsAnswer
from api.resources import Shared
from api.responses import json_answer, problems
from streams.windows.codec import to_window
from streams.windows.top import TopKeywords

router = APIRouter(prefix="/v1", tags=["windows"], route_class=needing(Scope.READ))

MAX_KEYWORDS = 500


@router.get("/keywords", response_model=KeywordsAnswer, responses=problems(401, 403, 422, 429, 503))
async def keywords(
    request: Request, resources: Shared, limit: Annotated[int, Query(ge=1, le=MAX_KEYWORDS)] = 20
) -> Response:
    """Returns the keywords with the most posts in the latest window of the longest size; `*` is all posts."""
    await resources.windows.refresh()
    rows = await TopKeywords(resources.windows).read(limit)
    found = [to_window(key, row) for key, row in rows]
    counts = [
        KeywordCount(
            keyword=window.keyword,
            count=window.count,
            unsupported=window.unsupported,
            labels={label: stats.count for label, stats in window.labels.items()},
            mean_sentiment=None if window.sentiment is None else window.sentiment.mean_sentiment,
        )
        for window in found
    ]
    answer = KeywordsAnswer(
        start=found[0].start if found else None, end=found[0].end if found else None, keywords=counts
    )
    return json_answer(request, answer.model_dump_json().encode())
