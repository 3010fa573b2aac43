"""Classifies the rows of an input with a model package, without Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import compress
from typing import Any, NamedTuple

from msgspec.structs import asdict

from connectors.s3 import client as s3
from models.classifier import Classifier
from models.package.folder import ModelPackage, bundled_package_path, load_package
from models.registry.cache import resolve
from models.registry.location import S3Location, parse_uri
from models.text.language import Language
from models.text.onnx_classifier import OnnxClassifier
from models.text.stated_language import language_of, reads
from streams.connections import model_threads, s3_config
from streams.ingest.lines import LineReader
from streams.ingest.rows import Row
from streams.pipeline.predictions import DECIMALS, Prediction, predict
from streams.records import rfc3339
from streams.settings import Settings


class RowPrediction(NamedTuple):
    """A row, its language, and the prediction; the prediction is None if the model does not read the language."""

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


def with_predictions(classifier: Classifier, rows: Sequence[Row]) -> Iterator[RowPrediction]:
    """Classify the texts of a batch, as the worker does; yields each row with its prediction, in order."""
    languages = [language_of(row.text, _stated(row)) for row in rows]
    read = [reads(classifier.languages, language.code) for language in languages]
    predictions = iter(predict(classifier, [row.text for row in compress(rows, read)]))
    for row, language, is_read in zip(rows, languages, read, strict=True):
        yield RowPrediction(row, language, next(predictions) if is_read else None)


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
