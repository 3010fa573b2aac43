"""Tells the ids of posts of sources from all other ids. Pure."""

from __future__ import annotations

SOURCE_KINDS = frozenset({"bluesky", "files", "hackernews", "kafka", "mastodon", "reddit", "rss", "s3", "webhook", "x"})
"""The kinds of sources. The id of a source's post begins with its kind and a colon; no other producer may use these
beginnings (docs/how-to/produce.md)."""

_COLON = ord(":")
_BEGINNINGS = tuple(f"{kind}:".encode() for kind in sorted(SOURCE_KINDS))


def is_from_source(key: bytes | None) -> bool:
    """Returns whether the key of a raw or classified post, which is the post's id, is that of a source's post."""
    # Most ids of others have no colon. To look for it takes a third of the time.
    return key is not None and _COLON in key and key.startswith(_BEGINNINGS)
