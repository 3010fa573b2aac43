"""Classification of texts that the caller sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter

from api.guarded import DirectRoute, needing
from api.models.texts import (
    Analysis,
    AnalyzeAnswer,
    AnalyzeRequest,
    ModelUsed,
    PredictBatchAnswer,
    PredictBatchRequest,
    Prediction,
    PredictRequest,
    SentimentScore,
)
from api.problems import ProblemError
from api.resources import Resources, Shared
from api.responses import problems
from streams.access.scopes import Scope
from streams.classification.predictions import Prediction as Found
from streams.classification.texts import Failed, TextResult
from streams.classification.tiers import classify_with_tier
from streams.errors import InputError

router = APIRouter(prefix="/v1", tags=["texts"], route_class=needing(Scope.PREDICT, DirectRoute))

_PROBLEMS = problems(401, 403, 413, 415, 422, 429, 503)

AUTO = "auto"
"""The tier that stands for the cascade: each text is answered by the first tier that is sure of it."""


@router.post("/predict", responses=_PROBLEMS)
async def predict(request: PredictRequest, resources: Shared) -> Prediction:
    """Classify a text. Texts of many callers are classified together, so one call per text is cheap."""
    (found,) = await _classified(resources, [request.text], request.lang)
    return found


@router.post("/predict/batch", responses=_PROBLEMS)
async def predict_batch(request: PredictBatchRequest, resources: Shared) -> PredictBatchAnswer:
    """Classify several texts. The predictions have the order of the texts."""
    return PredictBatchAnswer(predictions=await _classified(resources, request.texts, request.lang))


@router.post("/analyze", responses=_PROBLEMS)
async def analyze(request: AnalyzeRequest, resources: Shared) -> AnalyzeAnswer:
    """Classify one text or several with the tier of your choice; `GET /v1/model` lists the tiers."""
    texts = request.texts if request.texts is not None else [request.text or ""]
    found = await _classified(resources, texts, request.lang, tier=request.tier)
    return AnalyzeAnswer(analyses=[Analysis(dominant_emotion=one.label, prediction=one) for one in found])


async def _classified(
    resources: Resources, texts: Sequence[str], lang: str | None, *, tier: str = AUTO
) -> list[Prediction]:
    """Returns the predictions of texts, in order.

    Raises:
        ProblemError: There are too many texts, one is too long, one cannot be classified, or there is no such tier.
        ModelError: See `Serving.classify`.
    """
    _check(resources, texts)
    stated = [lang] * len(texts)
    if tier == AUTO:
        answers = await resources.serving.classify(texts, stated)
    else:
        async with resources.one_tier_at_a_time:
            try:
                answers = await asyncio.to_thread(classify_with_tier, resources.serving.current(), texts, stated, tier)
            except InputError as exc:
                raise _invalid(str(exc)) from exc
    return list(map(_prediction, answers))


def _check(resources: Resources, texts: Sequence[str]) -> None:
    settings = resources.settings
    if len(texts) > settings.api_max_texts:
        raise _invalid(f"{len(texts)} texts are too many; send at most {settings.api_max_texts} in one request")
    longest = max(map(len, texts))
    if longest > settings.text_max_chars:
        raise _invalid(f"a text has {longest} characters; at most {settings.text_max_chars} are allowed")


def _prediction(answer: TextResult) -> Prediction:
    language, found = answer
    if isinstance(found, Failed):
        raise _invalid(f"the model cannot classify a text: {found.reason}")
    known = found if isinstance(found, Found) else None
    model = found.model if isinstance(found, Found) else found
    sentiment = None if known is None else known.sentiment
    return Prediction(
        label=None if known is None else known.label,
        confidence=None if known is None else known.confidence,
        scores={} if known is None else known.scores,
        sentiment=None if sentiment is None else SentimentScore(label=sentiment.label, score=sentiment.score),
        lang=language.code,
        lang_confidence=round(language.confidence, 4),
        model=ModelUsed(name=model.name, version=model.version, tier=model.tier),
    )


def _invalid(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, kind="invalid-request")
