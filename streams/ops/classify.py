"""Classifies the rows of an input with a model package, without Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from connectors.s3 import client as s3
from models.classifier import Classifier
from models.package.folder import ModelPackage, bundled_package_path, load_package
from models.registry.cache import resolve
from models.registry.location import S3Location, parse_uri
from models.text.onnx_classifier import OnnxClassifier
from streams.connections import model_threads, s3_config
from streams.ingest.lines import LineReader
from streams.ingest.rows import Row
from streams.pipeline.predictions import Prediction, predict
from streams.records import rfc3339
from streams.settings import Settings

RowPrediction = tuple[Row, Prediction]


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
    """Classify the texts of a batch; yields each row with its prediction, in order."""
    return zip(rows, predict(classifier, [row.text for row in rows]), strict=True)


def prediction_document(row: Row, prediction: Prediction) -> dict[str, Any]:
    """Returns the JSON document of a classified row: its line, id, time, keywords and text, and the prediction."""
    created_at = row.values.get("created_at")
    return {
        "line": row.line,
        **({"id": row.values["id"]} if "id" in row.values else {}),
        **({"created_at": rfc3339(created_at)} if isinstance(created_at, datetime) else {}),
        **({"keywords": row.values["keywords"]} if row.values.get("keywords") else {}),
        "text": row.text,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "scores": prediction.scores,
        **({"sentiment": asdict(prediction.sentiment)} if prediction.sentiment is not None else {}),
        "model": asdict(prediction.model),
    }
