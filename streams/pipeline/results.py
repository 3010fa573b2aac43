"""Makes of a post and the model's answer the classified post: its record, and what the windows need of it. Pure."""

from __future__ import annotations

from pydantic_core import to_json

from streams.pipeline.decode import RawPost
from streams.pipeline.predictions import Prediction
from streams.records import OriginFields
from streams.windows.counted import MICRO, CountedPost


def to_result(
    post: RawPost, prediction: Prediction, origin: OriginFields, *, classified_at: str, keep_text: bool
) -> bytes:
    """The record of a `ClassifiedPost`, as JSON.

    Not by way of a `ClassifiedPost`, which would cost three times as much: this runs for every post.

    Args:
        post: as it was read.
        prediction: the model's.
        origin: where the post was read.
        classified_at: in RFC 3339, UTC.
        keep_text: whether the record has the post's text.
    """
    return to_json(
        {
            "id": post.id,
            "source": post.source,
            "keywords": post.keywords,
            "created_at": post.created_at,
            "text": post.text if keep_text else None,
            "lang": post.lang,
            "author": post.author,
            "url": post.url,
            "label": prediction.label,
            "confidence": prediction.confidence,
            "scores": prediction.scores,
            "sentiment": prediction.sentiment,
            "model": prediction.model,
            "origin": origin,
            "classified_at": classified_at,
        }
    )


def to_counted(post: RawPost, prediction: Prediction, origin: OriginFields) -> CountedPost:
    """What `read_counted` would read from the record that `to_result` makes of the same."""
    sentiment = prediction.sentiment
    return CountedPost(
        post.id,
        post.source,
        list(post.keywords),
        post.event_ms,
        prediction.label,
        round(prediction.confidence * MICRO),
        None if sentiment is None else sentiment["label"],
        0 if sentiment is None else round(sentiment["score"] * MICRO),
        prediction.model["version"],
        (origin["topic"], origin["partition"], origin["offset"]),
    )
