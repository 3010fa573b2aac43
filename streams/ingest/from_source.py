"""Makes records of the posts of networks and feeds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from connectors.sources.events import SourcePost
from streams.characters import cleaned, cut
from streams.records import ALL_KEYWORDS, Post, RecordError
from streams.records.values import MAX_KEYWORD_CHARS, MAX_KEYWORDS, MAX_LANG_CHARS, MAX_URL_CHARS
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


def post_of(event: SourcePost, source: str, rules: TextRules) -> MadePost:
    """Returns the record of a post of a source.

    Hashtags, a language and a URL that a record cannot have are left out, because the post is more than they are.

    Args:
        event: the post.
        source: the source of the record.
        rules: what is done with a text that cannot be stored as it is.

    Raises:
        RecordError: The post cannot be a record: its text is too long and may not be cut, it has characters that may
            not be replaced, or its id is too long.
    """
    lang = event.lang if event.lang is not None and len(event.lang) <= MAX_LANG_CHARS else None
    url = event.url if event.url is not None and len(event.url) <= MAX_URL_CHARS else None
    given = {"id": event.id, "text": event.text, "lang": lang, "author": event.author, "url": url}
    clean = {name: cleaned(value) if value is not None else None for name, value in given.items()}
    keywords = kept_keywords(map(cleaned, event.keywords))
    was_cleaned = clean != given
    if was_cleaned and not rules.clean:
        name = next(name for name in given if clean[name] != given[name])
        raise RecordError(f"{name}: holds U+0000 or a lone surrogate, which cannot be stored")
    text = clean["text"] or ""
    is_long = len(text) > rules.max_chars
    if is_long and not rules.cut:
        raise RecordError(f"text: has {len(text)} characters; {rules.max_chars} are allowed")
    fields = clean | {
        "text": cut(text, rules.max_chars) if is_long else text,
        "truncated": is_long,
        "created_at": event.created_at,
        "source": source,
        "keywords": keywords,
    }
    return MadePost(Post.from_fields(fields), was_cleaned)


def kept_keywords(found: Iterable[str]) -> tuple[str, ...]:
    """Returns the hashtags that can be keywords of a record: not too long, not `*`, and not too many."""
    kept = dict.fromkeys(word.strip() for word in found if len(word) <= MAX_KEYWORD_CHARS)
    return tuple(word for word in kept if word and word != ALL_KEYWORDS)[:MAX_KEYWORDS]
