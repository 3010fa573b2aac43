"""The calls that the service understands, as values, and their answers. Both clients share them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from api.client.errors import ApiError
from api.models.alerts import (
    AlertIncidentAnswer,
    AlertIncidentsAnswer,
    AlertMutesAnswer,
    AlertRulesAnswer,
    Severity,
)
from api.models.audit import AuditAnswer
from api.models.health import Readiness
from api.models.query import QueryAnswer, QueryRequest
from api.models.status import StatusAnswer
from api.models.texts import (
    AnalyzeAnswer,
    AnalyzeRequest,
    PredictBatchAnswer,
    PredictBatchRequest,
    Prediction,
    PredictRequest,
)
from api.models.windows import KeywordsAnswer, ModelAnswer, PostsAnswer, WindowsAnswer

AnswerT = TypeVar("AnswerT", bound=BaseModel)

State = Literal["open", "closed", "all"]
Order = Literal["frequent", "rising"]

Kind = Literal["window", "post"]

STREAM = "/v1/stream"

TIMEOUT_S = 60.0
"""Seconds that the service has for an answer: longer than its own deadline."""


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """One request, and the type of its answer.

    Attributes:
        method: the HTTP method.
        path: the path, with percent-encoding.
        answer: the model of the answer.
        body: the body, as JSON; None for none.
        params: the query parameters.
        also: statuses other than 2xx whose body is an answer too.
    """

    method: str
    path: str
    answer: type[AnswerT]
    body: BaseModel | None = None
    params: dict[str, str] = field(default_factory=dict)
    also: frozenset[int] = frozenset()


def query(request: QueryRequest) -> Call[QueryAnswer]:
    """Ask what people feel about a keyword."""
    return Call("POST", "/v1/query", QueryAnswer, request)


def predict(text: str, *, lang: str | None) -> Call[Prediction]:
    """Classify a text."""
    return Call("POST", "/v1/predict", Prediction, PredictRequest(text=text, lang=lang))


def predict_batch(texts: Sequence[str], *, lang: str | None) -> Call[PredictBatchAnswer]:
    """Classify several texts."""
    return Call("POST", "/v1/predict/batch", PredictBatchAnswer, PredictBatchRequest(texts=list(texts), lang=lang))


def analyze(texts: Sequence[str], *, lang: str | None, tier: str) -> Call[AnalyzeAnswer]:
    """Classify texts with a tier of the model."""
    return Call("POST", "/v1/analyze", AnalyzeAnswer, AnalyzeRequest(texts=list(texts), lang=lang, tier=tier))


def windows(keyword: str, *, size: int | None, since: datetime | None, limit: int) -> Call[WindowsAnswer]:
    """Get the windows of a keyword."""
    path = f"/v1/windows/{quote(keyword, safe='')}"
    return Call("GET", path, WindowsAnswer, params=_params(size=size, since=since, limit=limit))


def keywords(*, order: Order, limit: int) -> Call[KeywordsAnswer]:
    """Get the most frequent keywords, or those that rise fastest."""
    return Call("GET", "/v1/keywords", KeywordsAnswer, params=_params(order=order, limit=limit))


def posts(*, keyword: str | None, label: str | None, limit: int, before: str | None) -> Call[PostsAnswer]:
    """Get posts of the history, the newest first."""
    return Call(
        "GET", "/v1/posts", PostsAnswer, params=_params(keyword=keyword, label=label, limit=limit, before=before)
    )


def model() -> Call[ModelAnswer]:
    """Get the models that serve."""
    return Call("GET", "/v1/model", ModelAnswer)


def incidents(
    *,
    state: State,
    rule: str | None,
    keyword: str | None,
    severity: Severity | None,
    since: datetime | None,
    limit: int,
    before: str | None,
) -> Call[AlertIncidentsAnswer]:
    """Get incidents, the newest decision first."""
    params = _params(
        state=state, rule=rule, keyword=keyword, severity=severity, since=since, limit=limit, before=before
    )
    return Call("GET", "/v1/alerts/incidents", AlertIncidentsAnswer, params=params)


def incident(key: str) -> Call[AlertIncidentAnswer]:
    """Get an incident with its whole reason and its deliveries."""
    return Call("GET", f"/v1/alerts/incidents/{quote(key, safe='')}", AlertIncidentAnswer)


def alert_rules() -> Call[AlertRulesAnswer]:
    """Get the rules of alerts."""
    return Call("GET", "/v1/alerts/rules", AlertRulesAnswer)


def alert_mutes(*, ended: bool) -> Call[AlertMutesAnswer]:
    """Get the mutes."""
    return Call("GET", "/v1/alerts/mutes", AlertMutesAnswer, params={"all": str(ended).lower()})


def audit() -> Call[AuditAnswer]:
    """Get the result of the last audit."""
    return Call("GET", "/v1/audit", AuditAnswer)


def status() -> Call[StatusAnswer]:
    """Get the state of the application."""
    return Call("GET", "/v1/status", StatusAnswer)


def ready() -> Call[Readiness]:
    """Get the health of each part."""
    return Call("GET", "/health/ready", Readiness, also=frozenset({503}))


def answer_of(call: Call[AnswerT], response: httpx.Response, body: bytes) -> AnswerT:
    """Returns the answer to a call, from the response and its body.

    Raises:
        ApiError: The service answered with an error, or with something else than it answers to this call.
    """
    if not response.is_success and response.status_code not in call.also:
        raise ApiError.of(response, body)
    try:
        # A newer service may have more members.
        return call.answer.model_validate_json(body, extra="ignore")
    except ValidationError as exc:
        message = f"{call.method} {call.path}: the answer is not one of emostream's HTTP service"
        raise ApiError(message, status=response.status_code) from exc


def live_params(keywords: Sequence[str], kinds: Sequence[Kind]) -> dict[str, list[str]]:
    """Returns the query parameters of a live stream."""
    return {"keyword": list(keywords or ["*"]), "kind": list(kinds)}


def _params(**given: Any) -> dict[str, str]:  # noqa: ANN401 - values of several types
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in given.items()
        if value is not None
    }
