"""Makes the record of a classified post. Pure."""

from __future__ import annotations

from pydantic_core import to_json

from streams.records import Origin, Post, rfc3339
from streams.verdict import Verdict


def to_result(post: Post, verdict: Verdict, origin: Origin, *, classified_at: str, keep_text: bool) -> bytes:
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
            "created_at": rfc3339(post.created_at),
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
