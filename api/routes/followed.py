"""The keywords that sources search posts for: read them, follow another one, or end it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.guarded import DirectRoute, needing
from api.models.base import Keyword
from api.models.followed import FollowAnswer, FollowedAnswer, FollowedKeyword, FollowRequest, UnfollowAnswer
from api.problems import ProblemError
from api.resources import Resources, Shared
from api.responses import json_answer, problems
from streams.access.scopes import Scope
from streams.errors import InputError
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.store import add_keywords, read_keywords, remove_keywords

reading = APIRouter(prefix="/v1", tags=["followed keywords"], route_class=needing(Scope.READ))
following = APIRouter(prefix="/v1", tags=["followed keywords"], route_class=needing(Scope.FOLLOW, DirectRoute))
ending = APIRouter(prefix="/v1", tags=["followed keywords"], route_class=needing(Scope.FOLLOW))

_READ = problems(401, 403, 429, 503, has_etag=True)
_WRITE = problems(401, 403, 409, 413, 415, 422, 429, 503)


@reading.get("/followed", response_model=FollowedAnswer, responses=_READ)
async def followed(request: Request, resources: Shared) -> Response:
    """Returns the keywords that sources search posts for. Every post is counted under those that it contains."""
    async with resources.one_keyword_change_at_a_time:
        found = await asyncio.to_thread(read_keywords, resources.settings)
    listed = [
        FollowedKeyword(keyword=record.keyword, added_at=record.added_at)
        for _, record in sorted(found.by_fold.items(), key=lambda entry: entry[0])
    ]
    return json_answer(request, FollowedAnswer(keywords=listed).model_dump_json().encode())


@following.post("/followed", response_model=FollowAnswer, responses=_WRITE)
async def follow(request: FollowRequest, resources: Shared) -> FollowAnswer:
    """Follow a keyword: every running source searches posts for it within seconds.

    A keyword that is followed already stays as it is. It needs the scope `follow`.
    """
    keyword = _checked(request.keyword)
    try:
        async with resources.one_keyword_change_at_a_time:
            done = await asyncio.to_thread(add_keywords, resources.settings, [keyword])
    except InputError as exc:
        raise ProblemError(HTTPStatus.CONFLICT, str(exc), kind="too-many-keywords") from exc
    (name,) = done.added or done.present
    return FollowAnswer(keyword=name, is_new=bool(done.added), total=done.total)


@ending.delete("/followed/{keyword:path}", responses=problems(401, 403, 404, 422, 429, 503))
async def unfollow(
    resources: Shared, keyword: Annotated[Keyword, Path(description="The keyword, in whatever spelling.")]
) -> UnfollowAnswer:
    """No longer follow a keyword. What was counted under it stays. It needs the scope `follow`."""
    return await _unfollow(resources, _checked(keyword))


async def _unfollow(resources: Resources, keyword: str) -> UnfollowAnswer:
    try:
        async with resources.one_keyword_change_at_a_time:
            done = await asyncio.to_thread(remove_keywords, resources.settings, [keyword])
    except InputError as exc:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(exc)) from exc
    return UnfollowAnswer(keyword=done.removed[0], total=done.total)


def _checked(keyword: str) -> str:
    """Returns the keyword as it is counted.

    Raises:
        ProblemError: It cannot be a keyword.
    """
    try:
        return parse_keyword(keyword)
    except ValueError as exc:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(exc), kind="keyword") from None
