"""What a caller of the HTTP service may do. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

PREFIX = "emostream:"
"""What a scope in a token may begin with, because an issuer often has one list of scopes for many services."""


class Scope(StrEnum):
    """One right. Each endpoint needs one of them."""

    QUERY = "query"
    """Ask what people feel about a keyword: `POST /v1/query`, which may search sources for posts."""
    PREDICT = "predict"
    """Classify texts with the served model: `POST /v1/predict`, `/v1/predict/batch` and `/v1/analyze`."""
    READ = "read"
    """Read windows, keywords, posts, alerts, the model's versions and the audit: the endpoints of `/v1` with GET."""
    LIVE = "live"
    """Keep a stream open: `GET /v1/stream` and `/v1/live`."""
    ALERTS = "alerts"
    """Change the rules of alerts and mute them: the endpoints of `/v1/alerts` with PUT, POST and DELETE."""
    FOLLOW = "follow"
    """Change which keywords sources search posts for: `POST` and `DELETE /v1/followed`."""


ALL_SCOPES = frozenset(Scope)


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Returns the scopes among `names`, with or without `PREFIX`. Other names grant nothing and are left out."""
    found = {name.removeprefix(PREFIX) for name in names}
    return frozenset(scope for scope in Scope if scope in found)
