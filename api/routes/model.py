"""The models that serve."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.guarded import needing
from api.models.windows import ModelAnswer
from api.resources import Shared
from api.responses import json_answer, problems
from api.served import served_models
from streams.access.scopes import Scope

router = APIRouter(prefix="/v1", tags=["operation"], route_class=needing(Scope.READ))


@router.get("/model", response_model=ModelAnswer, responses=problems(401, 403, 429, 503, has_etag=True))
async def model(request: Request, resources: Shared) -> Response:
    """Returns the models that serve, the main one first, with their labels and tiers."""
    answer = ModelAnswer(channel=resources.settings.model_channel, models=served_models(resources.serving.current()))
    return json_answer(request, answer.model_dump_json().encode())
