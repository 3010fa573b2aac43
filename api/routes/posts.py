"""Posts of the history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.filters import refuse_unknown
from api.guarded import needing
from api.models.base import Keyword, Text
from api.models.windows import PostsAnswer
from api.resources import Shared
from api.responses import json_answer, problems
from connectors.deadline import Deadline
from streams.access.scopes import Scope
from streams.query.cached_engine import labels_of
from streams.query.posts import MAX_POSTS, Place, RecentPosts
from streams.query.question import Question

router = APIRouter(prefix="/v1", tags=["posts"], route_class=needing(Scope.READ))


@router.get("/posts", response_model=PostsAnswer, responses=problems(401, 403, 422, 429, 503, has_etag=True))
async def posts(
    request: Request,
    resources: Shared,
    *,
    keyword: Annotated[Keyword, Query(description="`*` stands for posts with any keyword or none.")] = "*",
    label: Annotated[
        Text | None, Query(min_length=1, max_length=200, description="Only posts with this label.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_POSTS)] = 50,
    before: Annotated[str | None, Query(max_length=64, description="`next_before` of the page before.")] = None,
) -> Response:
    """Returns classified posts, the newest first, a page at a time.

    They come from Postgres, which the sink fills while the machine is idle. So the newest posts may be missing.
    A label that no served model has is refused, unless there are posts with it.
    """
    size = min(window.seconds for window in resources.settings.window_sizes)
    page = await RecentPosts(resources.history, size=size).read(
        Question.of(keyword).keyword,
        Deadline(resources.settings.query_deadline_s),
        label=label,
        limit=limit,
        before=None if before is None else Place.parse(before),
        now=datetime.now(UTC),
    )
    if not page.posts and before is None:
        labels = labels_of(resources.serving.current().all)
        refuse_unknown("label", label, labels, "no served model has this label")
    following = b"null" if page.next is None else b'"%b"' % str(page.next).encode()
    found = b",".join(post.to_json() for post in page.posts)
    return json_answer(request, b'{"posts":[%b],"next_before":%b}' % (found, following))
