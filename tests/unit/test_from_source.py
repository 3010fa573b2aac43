"""Posts of sources become records: characters that cannot be stored, and texts that are too long."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.events import SourcePost
from streams.characters import cleaned, cleaned_json, cut
from streams.ingest.from_source import MadePost, TextRules, make_post
from streams.records import Post, RecordError, Timestamp
from tests.helpers import make_settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(text: str = "hello", **fields: object) -> SourcePost:
    return SourcePost(id="1", text=text, created_at=NOON, **fields)  # type: ignore[arg-type]


def post_of(event: SourcePost, source: str, rules: TextRules) -> MadePost:
    """Returns the record of a post that keeps its id, its author and its hashtags."""
    return make_post(event, source, rules, post_id=event.id, author=event.author, keywords=event.keywords)


def test_a_post_of_a_source() -> None:
    made = post_of(event(lang="en", author="a", url="u", keywords=("x",)), "bluesky", TextRules(10))
    assert made.cleaned is False
    assert json.loads(made.post.to_json()) == {
        "id": "1",
        "text": "hello",
        "created_at": "2026-03-01T12:00:00.000Z",
        "source": "bluesky",
        "keywords": ["x"],
        "lang": "en",
        "author": "a",
        "url": "u",
    }


def test_a_long_text_is_cut_and_marked_or_refused() -> None:
    made = post_of(event("x" * 11), "s", TextRules(10))
    assert (made.post.text, made.post.truncated) == ("x" * 10, True)
    assert json.loads(made.post.to_json())["truncated"] is True
    with pytest.raises(RecordError, match="text: has 11 characters; 10 are allowed"):
        post_of(event("x" * 11), "s", TextRules(10, cut=False))


def test_characters_that_cannot_be_stored_are_replaced_or_refused() -> None:
    made = post_of(event("a\0\ud83d", author="b\0"), "s", TextRules(10))
    assert (made.post.text, made.post.author, made.cleaned) == ("a\ufffd\ufffd", "b\ufffd", True)
    with pytest.raises(RecordError, match=r"holds U\+0000 or a lone surrogate"):
        post_of(event(author="b\0"), "s", TextRules(10, clean=False))


def test_what_a_record_cannot_have_does_not_cost_the_post() -> None:
    tags = (*(f"tag{number}" for number in range(100)), "*", " ", "x" * 201)
    made = post_of(event(lang="l" * 36, url="u" * 5_000, keywords=tags), "s", TextRules(10))
    assert (made.post.lang, made.post.url, len(made.post.keywords)) == (None, None, 64)
    early = datetime(1969, 12, 31, tzinfo=UTC)
    for post_id, text, time, message in [
        ("x" * 513, "a", NOON, "id: has 513 characters"),
        ("", "a", NOON, "id: has 0 characters"),
        ("1", " ", NOON, "text: is empty"),
        ("1", "a", early, "created_at: is before 1970"),
    ]:
        with pytest.raises(RecordError, match=message):
            post_of(SourcePost(id=post_id, text=text, created_at=time), "s", TextRules(10))


@given(
    st.builds(
        SourcePost,
        id=st.text(min_size=1, max_size=10),
        text=st.text(st.characters(exclude_categories=[]), max_size=20),
        created_at=st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - gets a zone
        author=st.none() | st.text(min_size=1, max_size=10),
        lang=st.none() | st.text(max_size=40),
        url=st.none() | st.text(max_size=10),
        keywords=st.lists(st.text(max_size=5) | st.just("*"), max_size=5).map(tuple),
    )
)
def test_a_record_of_a_source_is_one_that_the_workers_accept(event: SourcePost) -> None:
    if not cleaned(event.text).strip():
        with pytest.raises(RecordError, match="text: is empty"):
            post_of(event, "s", TextRules(10))
        return
    made = post_of(event, "s", TextRules(10))
    assert made.post.text.strip()
    assert Post.from_json(made.post.to_json()).to_json() == made.post.to_json()


def test_the_rules_of_the_settings() -> None:
    assert TextRules.of(make_settings()) == TextRules(5_000, cut=True, clean=True)
    other = make_settings(text_max_chars=7, source_long_texts="refuse", invalid_characters="refuse")
    assert TextRules.of(other) == TextRules(7, cut=False, clean=False)


@given(st.text(st.characters(exclude_categories=[])), st.booleans())
def test_cleaned_json_says_what_cleaned_texts_say(text: str, ascii_only: bool) -> None:
    """Whatever the text, and whether or not its characters are escaped."""
    document = json.dumps({"text": text}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert json.loads(cleaned_json(document))["text"] == cleaned(text)
    cleaned(text).encode()
    assert "\0" not in cleaned(text)


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_is_a_beginning_that_is_not_too_long(text: str, size: int) -> None:
    assert text.startswith(cut(text, size))
    assert min(len(text), size) - 32 <= len(cut(text, size)) <= size
    assert bool(cut(text, size)) == bool(text)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("hello", 5, "hello"),
        ("hello", 4, "hell"),
        ("ab\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}", 4, "ab"),
        ("e\u0301e\u0301", 3, "e\u0301"),
        ("a\N{WAVING HAND SIGN}\U0001f3fd", 2, "a"),
        ("\u0301" * 100, 50, "\u0301" * 18),
        ("\u0301" * 10, 5, "\u0301" * 5),
    ],
)
def test_a_cut_tears_no_character_apart(text: str, size: int, expected: str) -> None:
    assert cut(text, size) == expected


def test_a_post_that_was_cut_is_read_back() -> None:
    post = Post(id="1", text="x", created_at=Timestamp.of(NOON), source="s", truncated=True)
    assert Post.from_json(post.to_json()) == post
