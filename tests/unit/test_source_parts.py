"""The small parts that run sources: waits, sources.toml, ids, keywords, and which offsets are read again."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import UnavailableError
from connectors.sources.mastodon import MastodonSource
from connectors.sources.protocol import RateLimitError
from streams.errors import InputError
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules
from streams.ingest.sources.backoff import Backoff, BackoffLimits
from streams.ingest.sources.config import SourceSpec, read_config
from streams.ingest.sources.history import OffsetHistory
from streams.ingest.sources.keywords import fixed_keywords
from streams.ingest.sources.kinds import KINDS, opener_of, option_names
from streams.ingest.sources.posts import post_id, raw_record
from streams.ingest.sources.sent import SentIds
from streams.records import Post, RecordError
from streams.records.values import MAX_ID_CHARS
from streams.redact import redact
from tests.source_world import START, source_post

LONGEST = Backoff(BackoffLimits(), uniform=lambda _, high: high)
SHORTEST = Backoff(BackoffLimits(), uniform=lambda low, _: low)
BROKEN = UnavailableError("closed")
X_TOKEN = "AAAA-bearer-of-this-test"


def longest() -> Backoff:
    return Backoff(BackoffLimits(), uniform=lambda _, high: high)


def test_waits_double_up_to_a_limit_and_begin_anew_after_progress() -> None:
    backoff = longest()
    assert [backoff.wait_s(BROKEN) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.wait_s(BROKEN) == 1


def test_a_rate_limit_without_a_time_waits_longer() -> None:
    backoff = longest()
    limited = RateLimitError("too many connections")
    assert [backoff.wait_s(limited) for _ in range(8)] == [5, 10, 20, 40, 80, 160, 320, 320]


@pytest.mark.parametrize(("named", "waited"), [(30.0, 33.0), (0.0, 1.0), (86_400.0, 990.0)])
def test_the_time_that_the_network_names_is_honoured_up_to_a_limit(named: float, waited: float) -> None:
    assert longest().wait_s(RateLimitError("wait", named)) == pytest.approx(waited)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6), st.just("broken")), max_size=60))
def test_every_wait_is_positive_and_limited(errors: list[object]) -> None:
    backoff = Backoff(BackoffLimits())
    for error in errors:
        made = BROKEN if error == "broken" else RateLimitError("wait", error)  # type: ignore[arg-type]
        assert 0.5 <= backoff.wait_s(made) <= 990
        if isinstance(error, float):
            assert backoff.wait_s(RateLimitError("wait", error)) >= min(error, 900)


def write(folder: Path, text: str) -> Path:
    path = folder / "sources.toml"
    path.write_text(text, "utf-8")
    return path


def test_sources_of_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [bluesky]
        keywords = ["coffee", "rain"]

        [mirror]
        source = "bluesky"
        endpoint = ["wss://one.example/subscribe", "wss://two.example/subscribe"]
        allow_private = true
        rate = 50
        backoff_s = 0.5
        gap_s = 5
        """,
    )
    specs = read_config(path, option_names())
    assert list(specs) == ["bluesky", "mirror"]
    assert specs["bluesky"] == SourceSpec("bluesky", "bluesky", keywords=("coffee", "rain"))
    mirror = specs["mirror"]
    assert (mirror.kind, len(mirror.endpoints), mirror.allow_private, mirror.rate) == ("bluesky", 2, True, 50.0)
    assert (mirror.backoff.first_s, mirror.options) == (0.5, {"gap_s": 5})
    assert opener_of(mirror)().name == "bluesky"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no source"),
        ("[bluesky", "is not TOML"),
        ("bluesky = 1", "each source is a table"),
        ("[x]\nsource = 'nowhere'", "there is no source 'nowhere'"),
        ("[bluesky]\npassword = 'x'", "'password' is no option of bluesky"),
        ("[bluesky]\nkeywords = [1]", "keywords is a string, or a list of strings"),
        ("[bluesky]\nkeywords = ['tea', '*']", "source 'bluesky': keyword 2: '*' stands for all posts"),
        ("[bluesky]\nkeywords = [' ']", "keyword 1: a keyword must not be empty"),
        ("[bluesky]\nrate = 0", "the rate must be above 0"),
        ("[bluesky]\nrate = true", "rate is a number"),
        ("[bluesky]\nrate = nan", "the rate must be above 0"),
        ("[bluesky]\nallow_private = 1", "allow_private is true or false"),
        ("[bluesky]\nbackoff_s = -1", "backoff_s must be above 0"),
        ("[bluesky]\nendpoint = 'ftp://x.example'", "an endpoint is an address"),
        ("[bluesky]\nendpoint = 'wss://me:secret@x.example'", "an endpoint has no credentials"),
        ("['Blue Sky']\nsource = 'bluesky'", "a name has lower-case letters"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_config(write(tmp_path, text), option_names())
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_config(tmp_path / "sources.toml", option_names())


@pytest.mark.parametrize(
    "options",
    [{"collections": []}, {"collections": [1]}, {"gap_s": 0}, {"silence_s": "1"}, {"zstd_dictionary": "/nowhere"}],
)
def test_options_that_cannot_be_used(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        opener_of(SourceSpec("bluesky", "bluesky", options=options))


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("mastodon", {"tags": ["#"]}, "each of 1 to 200 characters"),
        ("mastodon", {"local": 1}, "local is true or false"),
        ("rss", {"interval_s": 0}, "interval_s is a number above 0"),
        ("hackernews", {"kinds": ["jobs"]}, "the items of Hacker News are"),
    ],
)
def test_options_that_a_source_rejects(kind: str, options: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        opener_of(SourceSpec(kind, kind, endpoints=("https://net.example/",), options=options))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"backfill_minutes": 6}, "backfill_minutes is 0 to 5"),
        ({"backfill_minutes": 1.5}, "backfill_minutes is a whole number"),
        ({"rules": -1}, "rules is a whole number"),
        ({"rules": 0}, "rules and recover_posts are at least 1"),
        ({"query_chars": 10}, "query_chars is 256 to 4096"),
        ({"recover": "no"}, "recover is true or false"),
    ],
)
def test_options_that_x_rejects(options: dict[str, object], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", X_TOKEN)
    with pytest.raises(InputError, match=problem):
        opener_of(SourceSpec("x", "x", options=options))


def test_x_needs_a_token_which_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", " ")
    with pytest.raises(InputError, match=r"set X_BEARER_TOKEN .* https://console.x.com"):
        opener_of(SourceSpec("x", "x"))
    monkeypatch.setenv("X_BEARER_TOKEN", X_TOKEN)
    opener_of(SourceSpec("x", "x"))
    assert redact(f"Bearer {X_TOKEN}") == "Bearer ***"


def test_the_line_end_of_a_secret_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTODON_ACCESS_TOKEN", "token-of-this-test\n")
    source = opener_of(SourceSpec("mastodon", "mastodon", endpoints=("https://net.example/",)))()
    assert isinstance(source, MastodonSource)
    assert source._options.token == "token-of-this-test"
    assert redact("token-of-this-test, and more") == "***, and more"


@pytest.mark.parametrize("kind", ["mastodon", "rss"])
def test_a_source_without_a_server_of_its_own_needs_an_endpoint(kind: str) -> None:
    with pytest.raises(InputError):
        opener_of(SourceSpec(kind, kind))


def test_the_query_of_a_feed_is_masked_if_it_may_be_a_secret() -> None:
    endpoints = ("https://net.example/?p=1", "https://net.example/?token=cafe01")
    opener_of(SourceSpec("rss", "rss", endpoints=endpoints))
    assert redact("token=cafe01, http=1") == "***, http=1"


NEEDED: dict[str, dict[str, object]] = {
    "files": {"path": "/"},
    "kafka": {"topic": "tweets"},
    "reddit": {"subreddits": ["coffee"]},
    "s3": {"uri": "s3://bucket/posts/"},
}
"""The options without which a kind of source does not begin."""

SHAPED = {"files", "kafka", "s3", "webhook"}
"""The kinds whose options say what they read, and not an endpoint."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_opens_without_a_connection(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", X_TOKEN)
    for name in ("REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET"):
        monkeypatch.setenv(name, "from-the-environment")
    endpoints = () if kind in SHAPED else ("https://net.example/",)
    source = opener_of(SourceSpec(kind, kind, endpoints=endpoints, options=NEEDED.get(kind, {})))()
    assert source.name == kind
    assert source.silence_s > 0


def test_ids() -> None:
    assert post_id("bluesky", "at://did:plc:1/app.bsky.feed.post/1") == "bluesky:at://did:plc:1/app.bsky.feed.post/1"
    longest_id = "x" * (MAX_ID_CHARS - len("bluesky:"))
    assert post_id("bluesky", longest_id) == f"bluesky:{longest_id}"
    assert post_id("bluesky", f"{longest_id}y") != post_id("bluesky", f"{longest_id}z")


@given(st.text(), st.text(), st.lists(st.text(), max_size=5), st.text())
def test_any_text_becomes_a_record_that_can_be_read(text: str, author: str, keywords: list[str], lang: str) -> None:
    post = source_post(1, text=text, author=author, keywords=tuple(keywords), lang=lang)
    try:
        made = raw_record(post, "test", post.keywords, TextRules(100), Authors("plain"))
    except RecordError:
        assert not text.strip()
        return
    record = Post.from_json(made.value)
    assert record.to_json() == made.value
    assert record.id.encode() == made.key == b"test:1"
    assert (len(record.text) < len(text)) == made.cut == record.truncated


def test_fixed_keywords() -> None:
    selection = fixed_keywords(["tea", "New York", "C++"])
    assert selection.keywords_of(source_post(1, text="TEA in new york, and C++")) == ("tea", "New York", "C++")
    assert selection.keywords_of(source_post(1, text="steam, teas", keywords=("Tea",))) == ("tea",)
    assert selection.keywords_of(source_post(1, text="steam")) is None


def test_a_keyword_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(InputError, match="argument 2"):
        fixed_keywords(["tea", "*"])


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 30))
def test_the_last_ids_are_known(numbers: list[int], most: int) -> None:
    sent = SentIds(most)
    added: list[int] = []
    for number in numbers:
        recent = set(added[-most:]) if len(set(added[-most:])) <= most else set()
        known = sent.add(str(number).encode())
        assert known or number not in recent
        assert not known or number in added
        added.append(number)


def test_the_topic_is_read_again_from_a_minute_before_by_both_clocks() -> None:
    history = OffsetHistory({0: 5}, 0.0, seconds=60)

    def add(ends: int, now: float, event: float | None) -> int:
        return history.add({0: ends}, now, None if event is None else START + timedelta(seconds=event))[0]

    assert add(10, 0.0, 0) == 5
    assert add(20, 30.0, 30) == 5
    assert add(30, 61.0, 61) == 10
    assert add(40, 89.0, 89) == 10
    assert add(50, 90.0, 90) == 20
    # It has caught up a day of events: the clock alone counts.
    assert add(60, 100.0, 86_400) == 20
    # The events stand still: what the source repeats lies further back.
    assert add(70, 500.0, 86_400) == 50
    assert add(80, 900.0, 86_401) == 50
    assert add(90, 901.0, None) == 70
