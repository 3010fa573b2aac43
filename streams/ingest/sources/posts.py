"""Makes records of the posts and the deletions of sources. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from connectors.sources.events import SourceDeletion, SourcePost
from streams.characters import cleaned
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules, make_post
from streams.records import DeletionReason, DeletionRecord, Timestamp
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


def raw_record(
    post: SourcePost, source: str, keywords: tuple[str, ...], rules: TextRules, authors: Authors
) -> RawRecord:
    """Returns the record of a source's post.

    Args:
        post: the post.
        source: the kind of source.
        keywords: the keywords of the post.
        rules: what is done with a text that cannot be stored as it is.
        authors: what is written as the author.

    Raises:
        RecordError: The post cannot be a record; see `streams.ingest.from_source.make_post`.
    """
    author = authors.written(source, post.author)
    made = make_post(post, source, rules, post_id=post_id(source, post.id), author=author, keywords=keywords)
    return RawRecord(made.post.id.encode(), made.post.to_json(), made.cleaned, made.post.truncated)


def deletion_records(
    deletion: SourceDeletion, source: str, authors: Authors, at: Timestamp
) -> tuple[DeletionRecord, ...]:
    """Returns the records of a deletion; none if no stored post can be found by it, because posts have no authors.

    Args:
        deletion: what the network announced.
        source: the kind of source.
        authors: what posts have as their author.
        at: when it was deleted.
    """
    if deletion.id is not None:
        found = cleaned(post_id(source, deletion.id))
        return (DeletionRecord(source=source, id=found, at=at, reason=DeletionReason.NETWORK),)
    return tuple(
        DeletionRecord(source=source, author=cleaned(author), at=at, reason=DeletionReason.NETWORK)
        for author in authors.erasable(source, deletion.author or "")
    )
