"""What a fetch makes of the posts that a search finds: which it takes, and with which keywords."""

from datetime import UTC, datetime

import pytest

from connectors.sources.events import SourcePost
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules
from streams.ingest.keywords.matcher import Matcher
from streams.query.fetch_posts import FoundPost, PostMaker, merged
from streams.records.values import MAX_KEYWORDS

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(text: str, **more: object) -> SourcePost:
    return SourcePost(**{"id": "1", "text": text, "created_at": AT, **more})  # type: ignore[arg-type]


def made(post: SourcePost, *live: str, keyword: str = "coffee", since: datetime | None = None) -> FoundPost | str:
    maker = PostMaker(keyword, since=since, rules=TextRules(100), authors=Authors("hash", "k" * 16))
    matcher = Matcher(live)
    return maker.made(post, "bluesky", lambda: matcher)


def keywords(found: FoundPost | str) -> tuple[str, ...]:
    assert isinstance(found, FoundPost)
    return tuple(found.post.keywords)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("COFFEE!", "coffee"),
        ("no coffeehouse, but coffee", "coffee"),
        ("iced  coffee", "Iced Coffee"),
        ("#café", "café"),
    ],
)
def test_a_post_that_has_the_keyword_is_taken(text: str, keyword: str) -> None:
    assert keywords(made(event(text), keyword=keyword)) == (keyword,)


@pytest.mark.parametrize("text", ["coffeehouse", "decaf", "cof fee"])
def test_a_post_without_the_keyword_is_not_taken(text: str) -> None:
    assert made(event(text)) == "no_keyword"


def test_a_keyword_may_be_in_a_hashtag_only() -> None:
    assert keywords(made(event("good morning", keywords=("coffee",)))) == ("coffee",)


def test_a_post_also_has_the_other_keywords_that_it_contains() -> None:
    assert keywords(made(event("tea, rain and coffee"), "rain", "tea", "snow")) == ("coffee", "tea", "rain")


def test_the_live_spelling_of_the_keyword_is_that_of_the_post() -> None:
    """Posts of the stream are counted under it, and one post must not be counted under two spellings."""
    assert keywords(made(event("tea and coffee"), "Coffee", "tea")) == ("Coffee", "tea")


def test_the_keyword_of_the_question_is_kept_if_there_are_too_many() -> None:
    others = [f"word{number}" for number in range(MAX_KEYWORDS + 5)]
    found = keywords(made(event(f"{' '.join(others)} coffee"[:5_000]), *others))
    assert found == ("coffee", *others[: MAX_KEYWORDS - 1])


def test_a_post_from_before_the_start_is_not_taken() -> None:
    later = datetime(2026, 3, 1, 13, tzinfo=UTC)
    assert made(event("coffee"), since=later) == "too_old"
    assert isinstance(made(event("coffee"), since=AT), FoundPost)


def test_a_post_that_cannot_be_a_record_is_not_taken() -> None:
    assert made(event("coffee", created_at=datetime(1969, 1, 1, tzinfo=UTC))) == "invalid"


def test_it_is_made_as_ingest_makes_it() -> None:
    found = made(event("coffee " * 100, author="alice", lang="en"))
    assert isinstance(found, FoundPost)
    post = found.post
    assert (post.id, post.source, post.truncated, len(post.text), post.lang) == (
        "bluesky:1",
        "bluesky",
        True,
        100,
        "en",
    )
    assert post.author == Authors("hash", "k" * 16).written("bluesky", "alice")


def test_keywords_that_become_known_later_are_added_then() -> None:
    known: list[Matcher] = []
    maker = PostMaker("coffee", since=None, rules=TextRules(100), authors=Authors("omit"))
    found = maker.made(event("coffee and rain", keywords=("tea",)), "x", lambda: known[0] if known else None)
    assert isinstance(found, FoundPost)
    assert found.with_all_keywords() is None
    known.append(Matcher(["tea", "rain"]))
    complete = found.with_all_keywords()
    assert complete is not None
    assert tuple(complete.keywords) == ("coffee", "rain", "tea")


def test_merging_keeps_one_spelling() -> None:
    assert merged("Straße", ["STRASSE", "rain"]) == ("STRASSE", "rain")
