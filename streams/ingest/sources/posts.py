"""Makes raw posts of the posts of sources. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import NamedTuple

from connectors.sources.events import SourcePost
from streams.records import Keywords, Post, RecordError, Timestamp
from streams.records.values import MAX_ID_CHARS

MAX_LANG_CHARS = 35
MAX_URL_CHARS = 4096

_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
"""U+0000, which PostgreSQL cannot store, and halves of surrogate pairs, which are not characters."""


class RawRecord(NamedTuple):
    """A record of the raw topic: the id of a post, and the post as JSON."""

    key: bytes
    value: bytes


def post_id(source: str, network_id: str) -> str:
    """Returns the id of a post: `<source>:<network id>`.

    An id that would be too long has the SHA-256 of the network's id in its place, so that it is the same every time.
    """
    found = f"{source}:{network_id}"
    if len(found) <= MAX_ID_CHARS:
        return found
    return f"{source}:sha256:{hashlib.sha256(network_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def cleaned(text: str) -> str:
    """Returns a text with U+FFFD in place of each character that cannot be stored."""
    return _NOT_STORABLE.sub("\ufffd", text)


def raw_record(post: SourcePost, source: str, keywords: tuple[str, ...], *, max_chars: int) -> RawRecord:
    """Returns the record of a source's post, with U+FFFD in place of what cannot be stored.

    A language, an author or a URL that is too long is left out, because a part of it is another one.

    Args:
        post: the post.
        source: the kind of source.
        keywords: the keywords of the post.
        max_chars: the longest text; a longer one is cut.

    Raises:
        RecordError: A field has an impossible value, such as a time before 1970.
    """
    try:
        return _record(post, source, keywords, max_chars)
    except ValueError:
        # Few posts have such a character, so no other one is searched for it.
        try:
            return _record(_cleaned_post(post), source, tuple(map(cleaned, keywords)), max_chars)
        except ValueError as exc:
            raise RecordError(str(exc)) from None


def _record(post: SourcePost, source: str, keywords: tuple[str, ...], max_chars: int) -> RawRecord:
    id_, lang, author, url = post_id(source, post.id), post.lang, post.author, post.url
    record = Post(
        id=id_,
        text=post.text[:max_chars],
        created_at=Timestamp.of(post.created_at).checked(),
        source=source,
        keywords=Keywords.of(keywords) if keywords else Keywords(),
        lang=lang if lang is None or len(lang) <= MAX_LANG_CHARS else None,
        author=author if author is None or len(author) <= MAX_ID_CHARS else None,
        url=url if url is None or len(url) <= MAX_URL_CHARS else None,
    )
    return RawRecord(id_.encode(), record.to_json())


def _cleaned_post(post: SourcePost) -> SourcePost:
    def of(text: str | None) -> str | None:
        return None if text is None else cleaned(text)

    return replace(
        post,
        id=cleaned(post.id),
        text=cleaned(post.text),
        lang=of(post.lang),
        author=of(post.author),
        url=of(post.url),
    )
