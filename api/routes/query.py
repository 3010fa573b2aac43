"""The question that the service exists for: what do people feel about a keyword?"""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.guarded import DirectRoute, needing
from api.models.query import QueryAnswer, QueryRequest
from api.pictures import PictureKind
from api.resources import Shared
from api.responses import JsonBytes, problems
from streams.access.scopes import Scope
from streams.query.question import Question
from streams.records import Timestamp

router = APIRouter(prefix="/v1", tags=["query"], route_class=needing(Scope.QUERY, DirectRoute))


@router.post("/query", response_model=QueryAnswer, responses=problems(401, 403, 413, 415, 422, 429, 503, 504))
async def query(request: QueryRequest, resources: Shared) -> Response:
    """Ask what people feel about a keyword.

    The answer comes from the cache, from the windows in Redis, from the history in Postgres, or from posts that are
    searched for and classified at once; `source` says which. If a server does not answer, the answer is made of what
    the others have, and `complete` and `notes` say what is missing. An unknown keyword has a count of 0.
    """
    since = None if request.since is None else Timestamp.of(request.since)
    question = Question.of(request.keyword, limit=request.limit, since=since)
    picture = PictureKind(request.plot_kind, request.plot_format) if request.return_plot else None
    answer = await resources.answers.ask(question, picture)
    return JsonBytes(answer)
