"""Describes the models that serve."""

from __future__ import annotations

from api.models.windows import ServedHead, ServedModelInfo
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.classification.tiers import tier_names


def served_models(models: ModelSet[OnnxClassifier]) -> list[ServedModelInfo]:
    """Returns the models, the main one first."""
    return [
        ServedModelInfo(
            name=one.name,
            version=one.version,
            languages=list(one.languages),
            configured_for=sorted(code for code, other in models.by_language.items() if other is one),
            heads=[ServedHead(name=head.name, labels=list(head.labels)) for head in one.heads],
            tiers=tier_names(one),
        )
        for one in models.all
    ]
