"""The bytes of an RSS or Atom feed -> its entries. Pure."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import feedparser

from connectors.sources.rss.identity import Marks
from connectors.sources.shapes.markup import html_text
from connectors.sources.shapes.times import parse_time

MAX_ENTRIES = 300
"""Entries of a document that are read: the newest ones. A podcast's feed may have thousands."""

_LONGEST_MARK = 2_000
_MAX_TAGS = 20
_LONGEST_TAG = 100
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_PERIODS_S = {"hourly": 3_600, "daily": 86_400, "weekly": 604_800, "monthly": 2_592_000, "yearly": 31_536_000}


class NotAFeedError(ValueError):
    """The document is not a feed. The message continues a sentence whose subject is the feed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a feed.

    Attributes:
        guid: the guid of RSS or the id of Atom; empty if there is none.
        link: the address of the entry; empty if there is none.
        text: the title and the summary, or the content if there is no summary, as people see them.
        published: when the entry was published, or else updated; None if the feed does not say, or names no time zone.
        author: the name of the author.
        lang: the language of the entry, or else of the feed.
        tags: the categories.
    """

    guid: str
    link: str
    text: str
    published: datetime | None
    author: str | None
    lang: str | None
    tags: tuple[str, ...]

    @property
    def marks(self) -> Marks:
        """What the entry is recognised by."""
        date = 0 if self.published is None else min(int(self.published.timestamp()), 2**32 - 1)
        return Marks(guid=self.guid, link=self.link, text=self.text, date=date)

    @property
    def url(self) -> str | None:
        """The address of the entry for people."""
        return self.link if self.link.startswith(("http://", "https://")) else None


@dataclass(frozen=True, slots=True)
class Feed:
    """A document of a feed.

    Attributes:
        entries: the entries, the newest first; none is in it twice.
        interval_s: how often the feed asks to be fetched, in seconds; None if it does not say.
    """

    entries: tuple[Entry, ...]
    interval_s: float | None


def parse_feed(body: bytes, headers: Mapping[str, str], url: str) -> Feed:
    """Parse a document of a feed. It may be malformed XML: what is readable of it is read.

    Args:
        body: the document.
        headers: the headers of the answer; the content type may name the encoding.
        url: where the document came from; links are relative to it.

    Raises:
        NotAFeedError: The document has no feed in it, such as a web page, or cannot be parsed.
    """
    # feedparser opens files and addresses: it would take a document that is the name of a file for that file.
    try:
        found = feedparser.parse(
            io.BytesIO(body),
            response_headers={"content-type": headers.get("content-type", ""), "content-location": url},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except Exception as exc:  # it has no class for its errors, and a document must not end the source
        raise NotAFeedError(f"cannot be parsed: {type(exc).__name__}") from exc
    if not found.get("version") and not found["entries"]:
        raise NotAFeedError("is neither RSS nor Atom")
    about = found["feed"]
    language = _language(about.get("language"))
    entries = {entry.marks: entry for raw in found["entries"] if (entry := _entry(raw, language)) is not None}
    return Feed(tuple(_newest_first(list(entries.values()))[:MAX_ENTRIES]), _interval_s(about))


def _newest_first(entries: list[Entry]) -> list[Entry]:
    """Returns the entries by date if all have one; else in the order of the document, which is usual in feeds."""
    if all(entry.published is not None for entry in entries):
        return sorted(entries, key=lambda entry: entry.marks.date, reverse=True)
    return entries


def _entry(raw: Mapping[str, Any], language: str | None) -> Entry | None:
    guid, link = _mark(raw.get("id")), _mark(raw.get("link"))
    contents = [part for part in raw.get("content") or () if part.get("value")]
    text = _text(raw, contents)
    if not (guid or link or text):
        return None
    return Entry(
        guid=guid,
        link=link,
        text=text,
        published=_time(raw, "published") or _time(raw, "updated") or _time(raw, "created"),
        author=_string(raw.get("author")),
        lang=next((lang for part in contents if (lang := _language(part.get("language")))), None) or language,
        tags=_tags(raw),
    )


def _text(raw: Mapping[str, Any], contents: list[Mapping[str, Any]]) -> str:
    """Returns the title, and the text after it. Feeds of short posts repeat the post as its title."""
    title = _plain(raw.get("title_detail"))
    text = _plain(raw.get("summary_detail")) or next((plain for part in contents if (plain := _plain(part))), "")
    beginning = title.removesuffix("…").removesuffix("...").rstrip()
    if not title or text.startswith(beginning):
        return text or title
    return f"{title}\n{text}".rstrip()


def _plain(detail: Mapping[str, Any] | None) -> str:
    value = (detail or {}).get("value")
    if not isinstance(value, str):
        return ""
    return value.strip() if (detail or {}).get("type") == "text/plain" else html_text(value)


def _time(raw: Mapping[str, Any], name: str) -> datetime | None:
    """Returns a time. One without a zone counts as none: it would be wrong by up to a day."""
    # `dict.get`, because feedparser's own `get` gives one time for another.
    with suppress(ValueError):
        return parse_time(dict.get(raw, name))  # type: ignore[call-overload]  # its overloads know no Mapping
    return None


def _tags(raw: Mapping[str, Any]) -> tuple[str, ...]:
    terms = (_string(tag.get("label")) or _string(tag.get("term")) for tag in raw.get("tags") or ())
    words = dict.fromkeys(term.lstrip("#").strip() for term in terms if term and len(term) <= _LONGEST_TAG)
    return tuple(word for word in words if word)[:_MAX_TAGS]


def _interval_s(about: Mapping[str, Any]) -> float | None:
    hints = []
    with suppress(TypeError, ValueError):
        hints.append(float(about.get("ttl") or "") * 60)
    period = _PERIODS_S.get(str(about.get("sy_updateperiod") or "").strip().lower())
    if period is not None:
        frequency = 1.0
        with suppress(TypeError, ValueError):
            frequency = float(about.get("sy_updatefrequency") or 1)
        hints.append(period / frequency if frequency > 0 else period)
    return max((hint for hint in hints if 0 < hint < float("inf")), default=None)


def _mark(value: object) -> str:
    """Returns a guid or link; one that is too long is cut, which its entry alone notices."""
    return value.strip()[:_LONGEST_MARK] if isinstance(value, str) else ""


def _language(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= 35 and _LANGUAGE.fullmatch(text) else None


def _string(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text or None
