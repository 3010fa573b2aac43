"""Texts to classify, and what the models say about them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from api.models.base import ApiModel, checked_text


class PredictRequest(ApiModel):
    """A text to classify."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "what a lovely day"}]})

    text: str = Field(min_length=1)
    lang: str | None = Field(None, max_length=35, description="Language tag (BCP 47), if it is known.")

    @field_validator("text")
    @classmethod
    def _storable(cls, value: str) -> str:
        return checked_text(value)


class PredictBatchRequest(ApiModel):
    """Several texts to classify."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["what a lovely day", "I hate this update"]}]})

    texts: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    lang: str | None = Field(None, max_length=35, description="Language tag (BCP 47) of all texts, if it is known.")

    @field_validator("texts")
    @classmethod
    def _storable(cls, value: list[str]) -> list[str]:
        return [checked_text(text) for text in value]


class ModelUsed(ApiModel):
    """The model that answered."""

    name: str
    version: str
    tier: str


class SentimentScore(ApiModel):
    """The sentiment of one text."""

    label: str
    score: float = Field(ge=-1, le=1)


class Prediction(ApiModel):
    """What a model says about a text. `label` is null if no model reads its language."""

    label: str | None
    confidence: float | None
    scores: dict[str, float] = Field(description="Probability of every label.")
    sentiment: SentimentScore | None
    lang: str = Field(description="Language of the text; `und` if the text does not tell it.")
    lang_confidence: float
    model: ModelUsed


class PredictBatchAnswer(ApiModel):
    """The predictions, in the order of the texts."""

    predictions: list[Prediction]


class AnalyzeRequest(ApiModel):
    """One text or several, and the tier that shall answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "yeah great, another delay"}, {"texts": ["good", "bad"], "tier": "auto"}]
        }
    )

    text: Annotated[str, Field(min_length=1)] | None = None
    texts: list[Annotated[str, Field(min_length=1)]] | None = Field(None, min_length=1)
    lang: str | None = Field(None, max_length=35)
    tier: str = Field("auto", max_length=64, description="`auto`, or the name of a tier of the main model.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give text or texts")
        for text in self.texts or [self.text or ""]:
            checked_text(text)
        return self


class Analysis(ApiModel):
    """The analysis of one text."""

    dominant_emotion: str | None
    prediction: Prediction


class AnalyzeAnswer(ApiModel):
    """The analyses, in the order of the texts."""

    analyses: list[Analysis]
