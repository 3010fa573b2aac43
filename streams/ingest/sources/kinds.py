"""The sources that there are, and how each is opened. A source's library is imported when the source is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connectors.errors import RejectedError
from connectors.sources.protocol import Source
from streams import __version__
from streams.errors import InputError
from streams.ingest.shaped.kinds import SHAPED_KINDS, ShapedKind, beginning_now
from streams.ingest.shaped.options import where
from streams.ingest.sources.config import SourceSpec, check_endpoint, flag
from streams.redact import remember_secrets
from streams.settings import Settings

Opener = Callable[[], Source]
"""Makes a source for the next connection."""

MASTODON_VARIABLE = "MASTODON_ACCESS_TOKEN"
"""The environment variable with the access token of Mastodon."""

X_VARIABLE = "X_BEARER_TOKEN"
"""The environment variable with the bearer token of an app of X."""

REDDIT_VARIABLES = ("REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET", "REDDIT_USERNAME", "REDDIT_PASSWORD")
"""The environment variables with the credentials of Reddit. The last two are for apps that act for an account."""

_LEAST_SECRET_QUERY = 8
"""Characters of the shortest query of a feed's address that is masked in logs, because it may hold a secret."""


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        opener: returns the opener of an instance. It checks the options, reads credentials and connects to nothing.
        options: the options that this kind has in sources.toml, beside those of every source.
    """

    opener: Callable[[SourceSpec], Opener]
    options: frozenset[str] = field(default_factory=frozenset)


def _bluesky(spec: SourceSpec) -> Opener:
    from connectors.sources.bluesky import BlueskySource, Hosts  # noqa: PLC0415 - loads the client libraries
    from connectors.sources.bluesky.hosts import PUBLIC_HOSTS  # noqa: PLC0415
    from connectors.sources.bluesky.source import SEARCH_ENDPOINT  # noqa: PLC0415

    hosts = Hosts(spec.endpoints or PUBLIC_HOSTS)
    collections = _texts(spec, "collections", ("app.bsky.feed.post",))
    dictionary = _file(spec, "zstd_dictionary", most_bytes=4_000_000)
    gap_s = _positive(spec, "gap_s", 60.0)
    silence_s = _positive(spec, "silence_s", 60.0)
    search_endpoint = _address(spec, "search_endpoint", SEARCH_ENDPOINT)
    return lambda: BlueskySource(
        hosts,
        allow_private=spec.allow_private,
        search_endpoint=search_endpoint,
        collections=collections,
        zstd_dictionary=dictionary,
        gap_s=gap_s,
        silence_s=silence_s,
    )


def _mastodon(spec: SourceSpec) -> Opener:
    from connectors.sources.mastodon import MastodonOptions, MastodonSource  # noqa: PLC0415

    token = _secret(MASTODON_VARIABLE) or None
    with _input_errors(spec):
        options = MastodonOptions(
            endpoint=_endpoint(spec, None),
            tags=_texts(spec, "tags", ()) if "tags" in spec.options else (),
            local=flag(where(spec), spec.options, "local"),
            token=token,
            interval_s=_positive(spec, "interval_s", 60.0),
            overlap=timedelta(seconds=_positive(spec, "overlap_s", 60.0)),
            allow_private=spec.allow_private,
        )
    return lambda: MastodonSource(options)


def _rss(spec: SourceSpec) -> Opener:
    from connectors.sources.rss import RssOptions, RssSource  # noqa: PLC0415
    from connectors.sources.rss.schedule import Schedule  # noqa: PLC0415

    if not spec.endpoints:
        raise InputError(f"{where(spec)}: give the addresses of the feeds as endpoints")
    # A shorter query, such as `p=1`, is no secret, and to mask it would spoil every line that has these characters.
    remember_secrets(query for url in spec.endpoints if len(query := urlsplit(url).query) >= _LEAST_SECRET_QUERY)
    interval_s = _positive(spec, "interval_s", 900.0)
    with _input_errors(spec):
        options = RssOptions(
            feeds=spec.endpoints,
            schedule=Schedule(interval_s=interval_s, least_s=_positive(spec, "least_s", 60.0)),
            history=flag(where(spec), spec.options, "history"),
            allow_private=spec.allow_private,
        )
    return lambda: RssSource(options)


def _hackernews(spec: SourceSpec) -> Opener:
    from connectors.sources.hackernews import HackerNewsOptions, HackerNewsSource  # noqa: PLC0415

    with _input_errors(spec):
        options = HackerNewsOptions(
            endpoint=_endpoint(spec, HackerNewsOptions().endpoint),
            search_endpoint=_address(spec, "search_endpoint", HackerNewsOptions().search_endpoint),
            kinds=frozenset(_texts(spec, "kinds", tuple(HackerNewsOptions().kinds))),
            interval_s=_positive(spec, "interval_s", 30.0),
            changes_s=_positive(spec, "changes_s", 120.0),
            allow_private=spec.allow_private,
        )
    return lambda: HackerNewsSource(options)


def _x(spec: SourceSpec) -> Opener:
    from connectors.sources.x import XOptions, XSource  # noqa: PLC0415
    from connectors.sources.x.following import RuleLimits  # noqa: PLC0415
    from connectors.sources.x.recovery import RecoveryOptions  # noqa: PLC0415

    token = _secret(X_VARIABLE)
    if not token:
        raise InputError(
            f"{where(spec)}: set {X_VARIABLE} to the bearer token of an app, which https://console.x.com shows under "
            "Keys and tokens; see docs/sources/x.md"
        )
    with _input_errors(spec):
        options = XOptions(
            token=token,
            tag=f"emostream:{spec.instance}",
            endpoint=_endpoint(spec, "https://api.x.com"),
            retweets=flag(where(spec), spec.options, "retweets"),
            limits=RuleLimits(
                rules=_whole(spec, "rules", RuleLimits().rules),
                rule_chars=_whole(spec, "rule_chars", RuleLimits().rule_chars),
                query_chars=_whole(spec, "query_chars", RuleLimits().query_chars),
            ),
            backfill_minutes=_whole(spec, "backfill_minutes", 0),
            recovery=RecoveryOptions(
                enabled=flag(where(spec), spec.options, "recover", default=True),
                most_posts=_whole(spec, "recover_posts", RecoveryOptions().most_posts),
            ),
            search_delay_s=_positive(spec, "search_delay_s", 45.0),
            allow_private=spec.allow_private,
        )
    return lambda: XSource(options)


_X_OPTIONS = frozenset(
    {
        "backfill_minutes",
        "query_chars",
        "recover",
        "recover_posts",
        "retweets",
        "rule_chars",
        "rules",
        "search_delay_s",
    }
)


def _reddit(spec: SourceSpec) -> Opener:
    from connectors.sources.reddit import Credentials, RedditOptions, RedditSource  # noqa: PLC0415
    from connectors.sources.reddit.source import API, TOKENS  # noqa: PLC0415

    id_name, secret_name, user_name, password_name = REDDIT_VARIABLES
    client_id, username = _variable(id_name), _variable(user_name)
    secret, password = _secret(secret_name), _secret(password_name)
    if not client_id or not secret:
        raise InputError(
            f"{where(spec)}: set REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET; Reddit shows them for an app "
            "that you register at https://www.reddit.com/prefs/apps (see docs/sources/reddit.md)"
        )
    if "subreddits" not in spec.options:
        raise InputError(f"{where(spec)}: name its subreddits in sources.toml: subreddits = ['coffee']")
    if password and not username:
        raise InputError(f"{where(spec)}: with REDDIT_PASSWORD, set REDDIT_USERNAME too")
    # Reddit asks for this form, and limits clients that do not say who runs them.
    user_agent = f"python:emostream:{__version__}" + (f" (by /u/{username})" if username else "")
    with _input_errors(spec):
        options = RedditOptions(
            subreddits=_texts(spec, "subreddits", ()),
            kinds=frozenset(_texts(spec, "kinds", ("comments", "submissions"))),
            credentials=Credentials(client_id, secret, username or None, password or None),
            user_agent=user_agent,
            endpoint=_endpoint(spec, API),
            token_endpoint=_endpoint(spec, TOKENS),
            interval_s=_positive(spec, "interval_s", 30.0),
            allow_private=spec.allow_private,
        )
    return lambda: RedditSource(options)


KINDS: Mapping[str, Kind | ShapedKind] = {
    "bluesky": Kind(_bluesky, frozenset({"collections", "gap_s", "search_endpoint", "silence_s", "zstd_dictionary"})),
    "hackernews": Kind(_hackernews, frozenset({"changes_s", "interval_s", "kinds", "search_endpoint"})),
    "mastodon": Kind(_mastodon, frozenset({"tags", "local", "interval_s", "overlap_s"})),
    "reddit": Kind(_reddit, frozenset({"subreddits", "kinds", "interval_s"})),
    "rss": Kind(_rss, frozenset({"interval_s", "least_s", "history"})),
    "x": Kind(_x, _X_OPTIONS),
    **SHAPED_KINDS,
}
"""Every kind of source, by its name."""


def option_names() -> dict[str, frozenset[str]]:
    """Returns the options of each kind of source."""
    return {name: kind.options for name, kind in KINDS.items()}


def opener_of(spec: SourceSpec, settings: Settings | None = None, *, from_now: bool = False) -> Opener:
    """Returns what makes the sources of an instance.

    Args:
        spec: the instance.
        settings: where Kafka and S3 are, for the sources that read from them; None for the default settings.
        from_now: whether a source begins with new posts, also if its options say `begin = "earliest"` or
            `history = true`.

    Raises:
        InputError: An option cannot be used, or credentials are missing.
    """
    kind = KINDS[spec.kind]
    if isinstance(kind, ShapedKind):
        return kind.opener(beginning_now(spec) if from_now else spec, settings or Settings())
    if from_now and "history" in kind.options:
        spec = replace(spec, options={**spec.options, "history": False})
    return kind.opener(spec)


@contextmanager
def _input_errors(spec: SourceSpec) -> Iterator[None]:
    """Turn what the options of a source reject into an error of the user."""
    try:
        yield
    except RejectedError as exc:
        raise InputError(f"{where(spec)}: {exc}") from exc


def _variable(name: str) -> str:
    """Returns a variable of the environment without white space around it, such as the line end of a file."""
    return os.environ.get(name, "").strip()


def _secret(name: str) -> str:
    """Returns a secret of the environment, as `_variable` does. No message shows it from now on."""
    found = _variable(name)
    remember_secrets([found])
    return found


def _endpoint(spec: SourceSpec, default: str | None) -> str:
    if len(spec.endpoints) > 1 or (default is None and not spec.endpoints):
        raise InputError(f"{where(spec)}: give one endpoint, the address of the server")
    return spec.endpoints[0] if spec.endpoints else str(default)


def _address(spec: SourceSpec, name: str, default: str) -> str:
    """Returns an option that is the address of an HTTP server."""
    value: Any = spec.options.get(name, default)
    if not isinstance(value, str):
        raise InputError(f"{where(spec)}: {name} is the address of a server")
    check_endpoint(value, where(spec))
    return value


def _texts(spec: SourceSpec, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value: Any = spec.options.get(name, default)
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) and item for item in items):
        raise InputError(f"{where(spec)}: {name} is a list of strings")
    return tuple(items)


def _positive(spec: SourceSpec, name: str, default: float) -> float:
    value: Any = spec.options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InputError(f"{where(spec)}: {name} is a number above 0")
    return float(value)


def _whole(spec: SourceSpec, name: str, default: int) -> int:
    value: Any = spec.options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where(spec)}: {name} is a whole number")
    return value


def _file(spec: SourceSpec, name: str, *, most_bytes: int) -> bytes | None:
    value: Any = spec.options.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where(spec)}: {name} is the path of a file")
    try:
        with Path(value).open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as exc:
        raise InputError(f"{where(spec)}: cannot read {name}: {exc.strerror}") from exc
    if len(data) > most_bytes:
        raise InputError(f"{where(spec)}: {name} is longer than {most_bytes:,} bytes")
    return data
