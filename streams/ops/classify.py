"""Classifies the rows of an input, without Kafka: with one model package, or with the models of a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import asdict
from prometheus_client import CollectorRegistry

from connectors.s3 import client as s3
from models.classifier import Classifier
from models.errors import ModelError
from models.package.folder import ModelPackage, bundled_package_path, load_package
from models.registry.cache import resolve
from models.registry.location import S3Location, parse_uri
from models.serving.metrics import ModelMetrics
from models.serving.served_models import ServedModels
from models.text.language import Language
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.classification.predictions import DECIMALS, Prediction
from streams.classification.texts import Failed, classify_texts
from streams.connections import language_model_sources, model_source, model_threads, s3_config
from streams.ingest.lines import LineReader
from streams.ingest.rows import Row
from streams.records import rfc3339
from streams.settings import Settings


class RowPrediction(NamedTuple):
    """A row, its language, and the prediction; the prediction is None if no model reads the language."""

    row: Row
    language: Language
    prediction: Prediction | None


def find_package(settings: Settings, model: str | None) -> ModelPackage:
    """Find a model package and verify its files.

    Args:
        settings: where S3 and the cache are, and which channel to take.
        model: a folder, or `s3://bucket/prefix` of a registry; None for the bundled package.

    Raises:
        ModelError: There is no such package, or a file of it is damaged.
        ConnectorError: S3 does not answer, or rejects the call.
    """
    if model is None:
        return load_package(bundled_package_path())
    location = parse_uri(model)
    if not isinstance(location, S3Location):
        return load_package(location)
    with s3.connect(s3_config(settings)) as connection:
        return resolve(model, connection, settings.model_cache, settings.model_channel)


def load_classifier(settings: Settings, model: str | None) -> OnnxClassifier:
    """Load the classifier of the package that `find_package` finds.

    Raises:
        ModelError: There is no such package, or it cannot be loaded.
        ConnectorError: S3 does not answer, or rejects the call.
    """
    return OnnxClassifier.load(find_package(settings, model), threads=model_threads(settings))


def load_models(settings: Settings) -> ModelSet[OnnxClassifier]:
    """Load the models that a worker with these settings would serve, after the same checks.

    Raises:
        ModelError: A model does not exist or cannot be loaded, or does not read the language that it is configured for.
        ConnectorError: S3 does not answer, or rejects the call, and the cache has no last good version.
    """
    metrics = ModelMetrics(CollectorRegistry())
    with closing(ServedModels(model_source(settings), language_model_sources(settings), metrics)) as models:
        models.start()
        return models.current()


def batches(rows: Iterator[Row], lines: LineReader, size: int) -> Iterator[list[Row]]:
    """Divide rows into batches of up to `size` rows.

    A batch is smaller if reading the next line would block, so that the rows of a slow pipe are classified at once.

    Args:
        rows: read from `lines`.
        lines: the input of the rows.
        size: the most rows in a batch.
    """
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size or lines.would_wait():
            yield batch
            batch = []
    if batch:
        yield batch


def with_predictions(models: ModelSet[Classifier], rows: Sequence[Row]) -> Iterator[RowPrediction]:
    """Classify the texts of a batch, as the worker does; yields each row with its prediction, in order.

    Raises:
        ModelError: A model cannot classify a text. The rows before it have been yielded.
    """
    answers = classify_texts(models, [row.text for row in rows], [_stated(row) for row in rows])
    for row, (language, found) in zip(rows, answers, strict=True):
        if isinstance(found, Failed):
            raise ModelError(f"line {row.line} cannot be classified: {found.reason}")
        yield RowPrediction(row, language, found if isinstance(found, Prediction) else None)


def _stated(row: Row) -> str | None:
    """Returns the language that the input states for a row."""
    lang = row.values.get("lang")
    return lang if isinstance(lang, str) else None


def prediction_document(classified: RowPrediction) -> dict[str, Any]:
    """Returns the JSON document of a classified row: the row's fields, its language, and the prediction."""
    row, language, prediction = classified
    created_at = row.values.get("created_at")
    document = {
        "line": row.line,
        **({"id": row.values["id"]} if "id" in row.values else {}),
        **({"created_at": rfc3339(created_at)} if isinstance(created_at, datetime) else {}),
        **({"keywords": row.values["keywords"]} if row.values.get("keywords") else {}),
        "text": row.text,
        "lang": language.code,
        "lang_confidence": round(language.confidence, DECIMALS),
    }
    if prediction is None:
        return {**document, "label": None, "confidence": None, "scores": {}}
    return {
        **document,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "scores": prediction.scores,
        **({"sentiment": asdict(prediction.sentiment)} if prediction.sentiment is not None else {}),
        "model": asdict(prediction.model),
    }
