"""Makes records of the posts of networks and feeds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from connectors.sources.events import SourcePost
from streams.characters import cleaned, cut, is_clean
from streams.records import ALL_KEYWORDS, Keywords, Post, RecordError, Timestamp
from streams.records.values import MAX_ID_CHARS, MAX_KEYWORD_CHARS, MAX_KEYWORDS, MAX_LANG_CHARS, MAX_URL_CHARS
from streams.settings import Settings


@dataclass(frozen=True)
class TextRules:
    """What is done with a text that cannot be stored as it is.

    Attributes:
        max_chars: the most characters of a text.
        cut: whether a longer text is cut, or refused.
        clean: whether U+0000 and lone surrogates become U+FFFD, or are refused.
    """

    max_chars: int
    cut: bool = True
    clean: bool = True

    @classmethod
    def of(cls, settings: Settings) -> TextRules:
        """Returns the rules of the settings for posts of sources."""
        return cls(
            settings.text_max_chars, settings.source_long_texts == "cut", settings.invalid_characters == "replace"
        )


class MadePost(NamedTuple):
    """A post for the raw topic.

    Attributes:
        post: the post; `truncated` if its text was cut.
        cleaned: whether characters were replaced.
    """

    post: Post
    cleaned: bool


def make_post(
    event: SourcePost,
    source: str,
    rules: TextRules,
    *,
    post_id: str,
    author: str | None,
    keywords: tuple[str, ...],
) -> MadePost:
    """Returns the record of a post of a source.

    Keywords, a language and a URL that a record cannot have are left out, because the post is more than they are.

    Args:
        event: the post. Its own id, author and hashtags are not read.
        source: the source of the record, 1 to 200 characters.
        rules: what is done with a text that cannot be stored as it is.
        post_id: the id of the record.
        author: the author of the record; None for none.
        keywords: the keywords of the record.

    Raises:
        RecordError: The post cannot be a record: its text is empty, or too long and may not be cut; it has characters
            that may not be replaced; its id or author is too long; or its time is before 1970.
    """
    given = (event.text, post_id, author, event.lang, event.url)
    unclean = [value for value in given if value is not None and not is_clean(value)]
    if unclean and not rules.clean:
        raise RecordError("holds U+0000 or a lone surrogate, which cannot be stored")
    text, id_, author, lang, url = map(_cleaned, given) if unclean else given
    if text is None or not text.strip():
        raise RecordError("text: is empty")
    if is_long := len(text) > rules.max_chars:
        if not rules.cut:
            raise RecordError(f"text: has {len(text)} characters; {rules.max_chars} are allowed")
        text = cut(text.lstrip(), rules.max_chars)
    for name, value, most in (("id", id_, MAX_ID_CHARS), ("author", author, MAX_ID_CHARS)):
        if value is not None and not 1 <= len(value) <= most:
            raise RecordError(f"{name}: has {len(value)} characters; 1 to {most} are allowed")
    # Not by `Post.from_fields`, which takes twice as long: the types are certain here, and the limits were checked.
    post = Post(
        id=id_ or "",
        text=text,
        created_at=_timestamp(event.created_at),
        source=source,
        keywords=Keywords(_kept_keywords(keywords)),
        lang=lang if lang is not None and len(lang) <= MAX_LANG_CHARS else None,
        author=author,
        url=url if url is not None and len(url) <= MAX_URL_CHARS else None,
        truncated=is_long,
    )
    return MadePost(post, bool(unclean))


def _kept_keywords(found: Iterable[str]) -> tuple[str, ...]:
    """Returns the words that can be keywords of a record: not too long, not `*`, and not too many."""
    kept = dict.fromkeys(cleaned(word).strip() for word in found if len(word) <= MAX_KEYWORD_CHARS)
    return tuple(word for word in kept if word and word != ALL_KEYWORDS)[:MAX_KEYWORDS]


def _cleaned(value: str | None) -> str | None:
    return cleaned(value) if value is not None else None


def _timestamp(moment: datetime) -> Timestamp:
    try:
        return Timestamp.of(moment).checked()
    except ValueError as exc:
        raise RecordError(f"created_at: {exc}") from None
