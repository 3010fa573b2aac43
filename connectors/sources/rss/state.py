"""What is remembered of each feed, and the cursor that carries it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.errors import RejectedError
from connectors.sources.rss.identity import RECORD_BYTES, Known, Shared
from connectors.sources.shapes.values import string

_VERSION = 1
_LEAST_REMEMBERED = 50
_MOST_REMEMBERED = 400
_LONGEST_VALIDATOR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What is remembered of a feed.

    Attributes:
        known: the entries that were seen, those of the last document first; None if the feed was never read.
        shared: which marks identify no entry of this feed.
        etag: the `ETag` of the last document.
        modified: the `Last-Modified` of the last document.
        url: where the feed has moved to for good; None if that is not known. It is not in the cursor, because an
            address may hold a secret.
        gap: whether a gap before the present document has been reported, whose entries have not all been yielded.
        gone: whether the server said that the feed is gone for good.
        interval_s: how often the feed asks to be fetched, in seconds; None if it does not say.
        due: when the feed is fetched again, in seconds since 1970.
    """

    known: tuple[Known, ...] | None = None
    shared: Shared = field(default_factory=Shared)
    etag: str | None = None
    modified: str | None = None
    url: str | None = None
    gap: bool = False
    gone: bool = False
    interval_s: float | None = None
    due: float = 0.0

    def conditions(self) -> dict[str, str]:
        """Returns the headers that make the server answer 304 if the document is still the same."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in found.items() if value is not None}

    def validated(self, headers: Mapping[str, str]) -> FeedState:
        """Returns the state with the validators of a document.

        One that is too long to be kept is left out, and one that is not ASCII, which cannot be sent in a header.
        """
        etag, modified = (
            value if value is not None and value.isascii() and 0 < len(value) <= _LONGEST_VALIDATOR else None
            for value in (headers.get("etag"), headers.get("last-modified"))
        )
        return replace(self, etag=etag, modified=modified)

    def remembering(self, entries: Sequence[Known]) -> FeedState:
        """Returns the state with the entries of a document, and the latest ones of the documents before.

        Servers behind a cache may answer with an older document after a newer one.
        """
        ids = {entry.id for entry in entries}
        others = [entry for entry in self.known or () if entry.id not in ids]
        limit = min(max(2 * len(entries), _LEAST_REMEMBERED), _MOST_REMEMBERED)
        return replace(self, known=(*entries, *others)[:limit])


def feed_key(url: str) -> str:
    """Returns the name of a feed in cursors. The address itself may hold a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


class RssCursor:
    """Writes cursors. The text of a feed is made again only when its state changes."""

    def __init__(self, states: Mapping[str, FeedState]) -> None:
        """Begin with the states of feeds by their addresses."""
        self._texts = {url: _dump(state) for url, state in states.items()}

    def set(self, url: str, state: FeedState) -> str:
        """Returns the cursor with this state of a feed, and keeps it for the next one."""
        self._texts[url] = _dump(state)
        return self.text

    @property
    def text(self) -> str:
        """The cursor."""
        feeds = ",".join(f'"{feed_key(url)}":{text}' for url, text in self._texts.items())
        return f'{{"v":{_VERSION},"feeds":{{{feeds}}}}}'


def read_cursor(cursor: str | None, urls: Sequence[str]) -> dict[str, FeedState]:
    """Returns the state of each feed; that of a feed that the cursor does not know is new.

    Args:
        cursor: a cursor of `RssCursor`; None to begin.
        urls: the addresses of the feeds.

    Raises:
        RejectedError: `cursor` is not a cursor of this version.
    """
    if cursor is None:
        return {url: FeedState() for url in urls}
    try:
        found = json.loads(cursor)
        if found["v"] != _VERSION:
            raise RejectedError(f"the cursor of rss has version {found['v']!r}; this program reads {_VERSION}")
        feeds = found["feeds"]
        return {url: _load(feeds[key]) if (key := feed_key(url)) in feeds else FeedState() for url in urls}
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        raise RejectedError("the cursor is not one of rss") from exc


def _dump(state: FeedState) -> str:
    known = None if state.known is None else b"".join(entry.pack() for entry in state.known)
    found = {
        "k": None if known is None else base64.b64encode(known).decode(),
        "s": int(state.shared.guids) + 2 * int(state.shared.links),
        "e": state.etag,
        "m": state.modified,
        "p": int(state.gap),
        "g": int(state.gone),
        "i": state.interval_s,
        "d": round(state.due, 3),
    }
    return json.dumps({name: value for name, value in found.items() if value not in (None, 0)}, separators=(",", ":"))


def _load(found: object) -> FeedState:
    if not isinstance(found, dict):
        raise TypeError("a state is not an object")
    known = None
    if "k" in found:
        packed = base64.b64decode(found["k"], validate=True)
        if len(packed) % RECORD_BYTES:
            raise ValueError("a record is cut off")
        known = tuple(
            Known.unpack(packed[start : start + RECORD_BYTES]) for start in range(0, len(packed), RECORD_BYTES)
        )
    shared = int(found.get("s", 0))
    return FeedState(
        known=known,
        shared=Shared(guids=bool(shared & 1), links=bool(shared & 2)),
        etag=string(found.get("e")),
        modified=string(found.get("m")),
        gap=bool(found.get("p", 0)),
        gone=bool(found.get("g", 0)),
        interval_s=None if "i" not in found else float(found["i"]),
        due=float(found.get("d", 0.0)),
    )
