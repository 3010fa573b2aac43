"""Tweets, items of Reddit, rows of Sentiment140, and JSON of any shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sources.events import SkipReason, SourceDeletion, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes import pushshift, sentiment140, twitter
from connectors.sources.shapes.mapping import FieldMap

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def post(event: SourceEvent) -> SourcePost:
    assert isinstance(event, SourcePost), event
    return event


def reason(event: SourceEvent) -> SkipReason:
    assert isinstance(event, SourceSkipped), event
    return event.reason


V1: dict[str, Any] = {
    "created_at": "Sun Mar 01 12:00:00 +0000 2026",
    "id": 1050118621198921728,
    "text": "short &amp; cut…",
    "user": {"id": 7, "screen_name": "someone"},
    "lang": "und",
}


def test_a_tweet_of_the_first_api() -> None:
    found = post(twitter.v1_event_of(V1))
    assert found == SourcePost(
        id="1050118621198921728",
        text="short & cut…",
        created_at=NOON,
        author="7",
        url="https://x.com/i/status/1050118621198921728",
    )
    full = {"full_text": "all of it #one #two", "entities": {"hashtags": [{"text": "one"}, {"text": "two"}]}}
    extended = post(twitter.v1_event_of(V1 | {"extended_tweet": full, "lang": "en"}))
    assert (extended.text, extended.keywords, extended.lang) == ("all of it #one #two", ("one", "two"), "en")


def test_a_retweet_has_the_complete_text() -> None:
    original = {"text": "long and cu…", "extended_tweet": {"full_text": "long and complete"}}
    retweet = V1 | {"text": "RT @other: long and cu…", "retweeted_status": original}
    assert post(twitter.v1_event_of(retweet)).text == "RT @other: long and complete"
    v2 = {"id": "2", "text": "RT @other: long and cu…", "created_at": "2026-03-01T12:00:00.000Z"}
    v2["referenced_tweets"] = [{"type": "retweeted", "id": "1"}]  # type: ignore[assignment]
    includes = {"tweets": [{"id": "0", "text": "no"}, {"id": "1", "note_tweet": {"text": "long and complete"}}]}
    assert post(twitter.v2_event_of({"data": v2, "includes": includes})).text == "RT @other: long and complete"
    assert post(twitter.v2_event_of({"data": v2})).text == "RT @other: long and cu…"


def test_notices_of_the_first_api() -> None:
    notice = {"delete": {"status": {"id": 1234, "id_str": "1234", "user_id": 3}, "timestamp_ms": "1"}}
    assert twitter.v1_event_of(notice) == SourceDeletion(id="1234")
    assert reason(twitter.v1_event_of({"limit": {"track": 10}})) is SkipReason.NOT_A_POST
    assert reason(twitter.v1_event_of({"delete": {"status": {"id": 1.5}}})) is SkipReason.UNREADABLE
    assert reason(twitter.v1_event_of({"hello": 1})) is SkipReason.UNREADABLE


V2: dict[str, Any] = {
    "id": "1146654567674912769",
    "text": "so &lt;3",
    "created_at": "2026-03-01T12:00:00.000Z",
    "author_id": "2244994945",
    "lang": "en",
    "entities": {"hashtags": [{"start": 1, "end": 2, "tag": "love"}]},
    "edit_history_tweet_ids": ["1146654567674912769"],
}


def test_a_tweet_of_the_second_api() -> None:
    expected = SourcePost(
        id="1146654567674912769",
        text="so <3",
        created_at=NOON,
        author="2244994945",
        lang="en",
        url="https://x.com/i/status/1146654567674912769",
        keywords=("love",),
    )
    assert twitter.v2_event_of({"data": V2, "matching_rules": []}) == expected
    flattened = {name: value for name, value in V2.items() if name != "author_id"}
    assert twitter.v2_event_of(flattened | {"author": {"id": "2244994945", "username": "x"}}) == expected
    edited = post(twitter.v2_event_of({"data": V2 | {"edit_history_tweet_ids": ["1", "1146654567674912769"]}}))
    assert (edited.id, edited.edited) == ("1", True)


def test_what_is_no_tweet() -> None:
    assert reason(twitter.v2_event_of({"data": [V2]})) is SkipReason.UNREADABLE
    assert reason(twitter.v2_event_of({"errors": []})) is SkipReason.UNREADABLE
    assert reason(twitter.v2_event_of({"data": V2 | {"text": " "}})) is SkipReason.EMPTY_TEXT
    assert reason(twitter.v2_event_of({"data": V2 | {"created_at": "now"}})) is SkipReason.UNREADABLE


COMMENT: dict[str, Any] = {"id": "dpkq1a", "body": "fine", "created_utc": 1772366400, "author": "x"}
SUBMISSION: dict[str, Any] = {
    "id": "dpkq1a",
    "title": "A &amp; B",
    "selftext": "",
    "created_utc": "1772366400.0",
    "author": "[deleted]",
    "permalink": "/r/x/comments/dpkq1a/a/",
}


def test_comments_and_submissions() -> None:
    assert pushshift.event_of(COMMENT) == SourcePost(id="t1_dpkq1a", text="fine", created_at=NOON, author="x")
    link = "https://www.reddit.com/r/x/comments/dpkq1a/a/"
    assert pushshift.event_of(SUBMISSION) == SourcePost(id="t3_dpkq1a", text="A & B", created_at=NOON, url=link)
    text = "one\n\n&amp;#x200B;\n\ntwo"
    assert post(pushshift.event_of(SUBMISSION | {"selftext": text})).text == "A & B\n\none\n\n\u200b\n\ntwo"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (COMMENT | {"body": "[deleted]"}, SkipReason.REMOVED),
        (COMMENT | {"body": " [removed]\n"}, SkipReason.REMOVED),
        (SUBMISSION | {"selftext": "[removed]"}, SkipReason.REMOVED),
        (SUBMISSION | {"title": "[deleted by user]"}, SkipReason.REMOVED),
        (COMMENT | {"body": "&#32;"}, SkipReason.EMPTY_TEXT),
        (COMMENT | {"body": None}, SkipReason.UNREADABLE),
        (COMMENT | {"created_utc": None}, SkipReason.UNREADABLE),
        ({"id": "x", "created_utc": 1772366400}, SkipReason.UNREADABLE),
    ],
)
def test_items_of_reddit_that_are_no_posts(item: dict[str, Any], expected: SkipReason) -> None:
    assert reason(pushshift.event_of(item)) is expected


def test_rows_of_sentiment140_that_are_no_posts() -> None:
    row = ["0", "1", "Mon Apr 06 22:19:45 PDT 2009", "NO_QUERY", "x", "text"]
    assert post(sentiment140.event_of(row)).created_at == datetime(2009, 4, 7, 5, 19, 45, tzinfo=UTC)
    for wrong in (row[:5], ["target", "ids", *row[2:]], [*row[:2], "Mon Apr 06 22:19:45 2009", *row[3:]]):
        assert reason(sentiment140.event_of(wrong)) is SkipReason.UNREADABLE
    assert reason(sentiment140.event_of([*row[:5], " "])) is SkipReason.EMPTY_TEXT


DOCUMENT = {"a": {"b": "<p>x &amp; y</p>", "n": 9007199254740993}, "at": 1772366400000, "tags": ["p", "q"]}
FIELDS = {"text": "html_text(a.b)", "id": "a.n", "created_at": "at", "keywords": "tags"}


def test_json_of_any_shape() -> None:
    mapping = FieldMap.parse(FIELDS)
    expected = SourcePost(id="9007199254740993", text="x & y", created_at=NOON, keywords=("p", "q"))
    assert mapping.event_of(DOCUMENT) == expected
    early = datetime(2026, 2, 1, tzinfo=UTC)
    assert post(mapping.event_of(DOCUMENT, received_at=early)).created_at == early
    bare = FieldMap.parse({}).event_of({"text": "hello", "author": 5}, default_id="t-0-1", received_at=NOON)
    assert bare == SourcePost(id="t-0-1", text="hello", created_at=NOON, author="5")


@pytest.mark.parametrize(
    ("document", "expected", "detail"),
    [
        ([1], SkipReason.UNREADABLE, "not a JSON object"),
        ({"text": "x", "id": "1"}, SkipReason.UNREADABLE, "no text, no id or no time"),
        ({"text": "x", "created_at": 1772366400}, SkipReason.UNREADABLE, "no text, no id or no time"),
        ({"text": "x", "id": "1", "created_at": "2026-03-01 12:00"}, SkipReason.UNREADABLE, "has no time zone"),
        ({"text": "x", "id": 1e26}, SkipReason.UNREADABLE, "id: is neither"),
        ({"text": " ", "id": "1", "created_at": 1772366400}, SkipReason.EMPTY_TEXT, "empty"),
        ({"text": "[removed]", "id": "1", "created_at": 1772366400}, SkipReason.REMOVED, "removed"),
    ],
)
def test_json_that_is_no_post(document: object, expected: SkipReason, detail: str) -> None:
    event = FieldMap.parse({}).event_of(document)
    assert reason(event) is expected
    assert isinstance(event, SourceSkipped)
    assert detail in event.detail


@pytest.mark.parametrize(
    ("expression", "value"), [("abs(text)", "secret"), ("ceil(text)", float("inf")), ("floor(text)", float("nan"))]
)
def test_an_expression_that_cannot_be_applied_does_not_quote_the_document(expression: str, value: object) -> None:
    event = FieldMap.parse({"text": expression}).event_of({"text": value})
    assert event == SourceSkipped(
        reason=SkipReason.UNREADABLE, detail="text: the expression cannot be applied to this record"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "a"}, "a post has no field 'size'"),
        ({"text": "Tweet text"}, 'needs double quotes: "Tweet text"'),
        ({"text": "2"}, "is not a JMESPath expression"),
        ({"text": "x" * 1_001}, "1000 are allowed"),
        ({"text": "(" * 900}, "is not a JMESPath expression"),
    ],
)
def test_expressions_that_cannot_be_read(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        FieldMap.parse(given)
    assert "\n" not in str(caught.value)


def test_the_members_that_expressions_read() -> None:
    given = {"text": "join(' ', [title, body.text])", "id": '"the id"', "lang": "langs[0]", "source": "'x'"}
    mapping = FieldMap.parse(given)
    assert mapping.roots == {"title", "body", "the id", "langs"}
    assert mapping.names == {"id": "the id"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = sorted({*V1, *V2, *COMMENT, *SUBMISSION, "data", "delete", "retweeted_status", "note_tweet", "includes"})


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_no_json_raises(change: dict[str, Any]) -> None:
    for base in (V1, V2, COMMENT, SUBMISSION, {}):
        twitter.v1_event_of(base | change)
        twitter.v2_event_of(base | change)
        pushshift.event_of(base | change)
        FieldMap.parse(FIELDS).event_of(DOCUMENT | base | change)
    sentiment140.event_of([str(value) for value in change.values()])
