"""Classifies texts with one tier of the main model, whatever its thresholds say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.classifier import Classification
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from models.text.stated_language import language_of
from streams.classification.predictions import UNSUPPORTED_TIER, Prediction, predictions
from streams.classification.texts import TextResult
from streams.errors import InputError
from streams.records import ModelRef


def tier_names(classifier: OnnxClassifier) -> list[str]:
    """Returns the names of a model's tiers, the cheapest first."""
    return [tier.name for tier in classifier.manifest.tiers]


def classify_with_tier(
    models: ModelSet[OnnxClassifier], texts: Sequence[str], stated: Sequence[str | None], tier: str
) -> list[TextResult]:
    """Classify texts with one tier of the main model.

    Args:
        models: the models. A text that another model reads, or none, is unsupported.
        texts: any number of texts.
        stated: for each text the language tag that its source gives; None if there is none.
        tier: the name of a tier of the main model.

    Returns:
        One answer per text, in order.

    Raises:
        InputError: The main model has no such tier.
    """
    main = models.main
    names = tier_names(main)
    if tier not in names:
        raise InputError(f"{main.name} {main.version} has no tier {tier!r}; it has {', '.join(names)}")
    index = names.index(tier)
    languages = [language_of(text, tag) for text, tag in zip(texts, stated, strict=True)]
    rows = [row for row, language in enumerate(languages) if models.model_for(language.code) is main]
    probabilities = main.classify_with(index, [texts[row] for row in rows])
    output = Classification(probabilities, np.full(len(rows), index, np.intp), tuple(names))
    found: list[Prediction | ModelRef] = [ModelRef(main.name, main.version, UNSUPPORTED_TIER)] * len(texts)
    for row, prediction in zip(rows, predictions(main, output), strict=True):
        found[row] = prediction
    return list(map(TextResult, languages, found))
