"""Finds the languages of texts, and classifies each text with the model that reads its language.

The worker and `emostream classify` use this, so a text gets the same answer from both.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from models.classifier import Classifier
from models.text.language import Language
from models.text.model_set import ModelSet
from models.text.stated_language import language_of
from streams.classification.predictions import UNSUPPORTED_TIER, Prediction, predict
from streams.records import ModelRef
from streams.wording import counted

logger = logging.getLogger(__name__)

_PROBE_TEXT = "what a lovely day"
"""A text that every working model can classify, whatever languages it reads."""


class Failed(NamedTuple):
    """A text that its model cannot classify.

    Attributes:
        reason: the error of the model.
    """

    reason: str


class TextResult(NamedTuple):
    """What the models say about a text.

    Attributes:
        language: the language of the text.
        found: the prediction; the main model with the tier `UNSUPPORTED_TIER` if no model reads the language; `Failed`
            if the model that reads it cannot classify the text.
    """

    language: Language
    found: Prediction | ModelRef | Failed


def classify_texts(
    models: ModelSet[Classifier], texts: Sequence[str], stated: Sequence[str | None]
) -> list[TextResult]:
    """Classify texts, in one call for each model.

    If a model cannot classify a text, the answer of this text is `Failed`, and all other texts have theirs.

    Args:
        models: the models.
        texts: any number of texts.
        stated: for each text the language tag that its source gives; None if there is none.

    Returns:
        One answer per text, in order.

    Raises:
        Exception: A model is broken: it fails on `_PROBE_TEXT` too. There are no answers then, also from other models,
            because the posts are not at fault, and the model may work after a restart.
    """
    languages = [language_of(text, tag) for text, tag in zip(texts, stated, strict=True)]
    chosen = {code: models.model_for(code) for code in dict.fromkeys(language.code for language in languages)}
    unsupported = ModelRef(models.main.name, models.main.version, UNSUPPORTED_TIER)
    found: list[Prediction | ModelRef | Failed] = [unsupported] * len(texts)
    for model in {id(model): model for model in chosen.values() if model is not None}.values():
        rows = [row for row, language in enumerate(languages) if chosen[language.code] is model]
        for row, prediction in zip(rows, _predictions(model, [texts[row] for row in rows]), strict=True):
            found[row] = prediction
    return list(map(TextResult, languages, found))


def _predictions(model: Classifier, texts: Sequence[str]) -> Sequence[Prediction | Failed]:
    """Returns a prediction for each text, or why it has none.

    If the batch fails, each of its texts is classified alone, so that one bad text does not cost the others. If the
    model fails on `_PROBE_TEXT` too, the model is broken and its error is raised.
    """
    try:
        return predict(model, texts)
    except Exception:
        logger.exception(
            "%s %s cannot classify %s at once; classifying each alone",
            model.name,
            model.version,
            counted(len(texts), "post"),
        )
    predict(model, [_PROBE_TEXT])
    found: list[Prediction | Failed] = []
    for text in texts:
        try:
            found += predict(model, [text])
        except Exception as exc:  # noqa: BLE001 - the caller gets the reason
            found.append(Failed(f"{type(exc).__name__}: {exc}"[:1_000]))
    return found
