"""The models that serve."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.guarded import needing
from api.models.windows import ModelAnswer, ServedHead, ServedModelInfo
from api.resources import Shared
from api.responses import json_answer, problems
from streams.access.scopes import Scope
from streams.classification.tiers import tier_names

router = APIRouter(prefix="/v1", tags=["operation"], route_class=needing(Scope.READ))


@router.get("/model", response_model=ModelAnswer, responses=problems(401, 403, 429, 503, has_etag=True))
async def model(request: Request, resources: Shared) -> Response:
    """Returns the models that serve, the main one first, with their labels and tiers."""
    models = resources.serving.current()
    answer = ModelAnswer(
        channel=resources.settings.model_channel,
        models=[
            ServedModelInfo(
                name=one.name,
                version=one.version,
                languages=list(one.languages),
                configured_for=sorted(code for code, other in models.by_language.items() if other is one),
                heads=[ServedHead(name=head.name, labels=list(head.labels)) for head in one.heads],
                tiers=tier_names(one),
            )
            for one in models.all
        ],
    )
    return json_answer(request, answer.model_dump_json().encode())
