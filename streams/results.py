"""Makes the record of a classified post. Pure."""

from __future__ import annotations

from pydantic_core import to_json

from streams.decode import RawPost
from streams.records import OriginFields
from streams.verdict import Verdict


def to_result(post: RawPost, verdict: Verdict, origin: OriginFields, *, classified_at: str, keep_text: bool) -> bytes:
    """The record of a `ClassifiedPost`, as JSON.

    Not by way of a `ClassifiedPost`, which would cost three times as much: this runs for every post.

    Args:
        post: as it was read.
        verdict: the model's.
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
            "label": verdict.label,
            "confidence": verdict.confidence,
            "scores": verdict.scores,
            "sentiment": verdict.sentiment,
            "model": verdict.model,
            "origin": origin,
            "classified_at": classified_at,
        }
    )
