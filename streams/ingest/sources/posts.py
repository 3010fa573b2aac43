"""Makes records of the raw topic of the posts of sources. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from connectors.sources.events import SourcePost
from streams.ingest.from_source import TextRules, make_post
from streams.records.values import MAX_ID_CHARS


class RawRecord(NamedTuple):
    """A record of the raw topic.

    Attributes:
        key: the id of the post.
        value: the post as JSON.
        cleaned: whether characters that cannot be stored were replaced.
        cut: whether the text was cut.
    """

    key: bytes
    value: bytes
    cleaned: bool
    cut: bool


def post_id(source: str, network_id: str) -> str:
    """Returns the id of a post: `<source>:<network id>`.

    An id that would be too long has the SHA-256 of the network's id in its place, so that it is the same every time.
    """
    found = f"{source}:{network_id}"
    if len(found) <= MAX_ID_CHARS:
        return found
    return f"{source}:sha256:{hashlib.sha256(network_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def raw_record(post: SourcePost, source: str, keywords: tuple[str, ...], rules: TextRules) -> RawRecord:
    """Returns the record of a source's post. An author that is too long is left out, because a part of it is another.

    Args:
        post: the post.
        source: the kind of source.
        keywords: the keywords of the post.
        rules: what is done with a text that cannot be stored as it is.

    Raises:
        RecordError: The post cannot be a record; see `streams.ingest.from_source.post_of`.
    """
    author = post.author if post.author is not None and 1 <= len(post.author) <= MAX_ID_CHARS else None
    made = make_post(post, source, rules, post_id=post_id(source, post.id), author=author, keywords=keywords)
    return RawRecord(made.post.id.encode(), made.post.to_json(), made.cleaned, made.post.truncated)
