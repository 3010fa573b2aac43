"""Events of Jetstream and statuses of Mastodon."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.sources.events import SkipReason, SourceDeletion, SourcePost, SourceSkipped
from connectors.sources.shapes import jetstream, mastodon
from connectors.sources.shapes.markup import html_text, html_text_and_hashtags, unescaped

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME_US = 1772366400000000


def commit(operation: str = "create", **record: Any) -> dict[str, Any]:
    record = {"$type": "app.bsky.feed.post", "createdAt": "2026-03-01T12:00:00.000Z", "text": "so happy"} | record
    body = {"rev": "3k", "operation": operation, "collection": "app.bsky.feed.post", "rkey": "3kabc", "record": record}
    return {"did": "did:plc:abc", "time_us": TIME_US, "kind": "commit", "commit": body}


def test_a_post_of_jetstream() -> None:
    facets = [{"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "sun"}, {"$type": "other", "tag": "no"}]}]
    event = jetstream.event_of(commit(langs=["en"], facets=facets, tags=["sun", "sea"]))
    assert event == SourcePost(
        id="at://did:plc:abc/app.bsky.feed.post/3kabc",
        text="so happy",
        created_at=NOON,
        author="did:plc:abc",
        lang="en",
        url="https://bsky.app/profile/did:plc:abc/post/3kabc",
        keywords=("sun", "sea"),
    )


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        ("2031-05-01T00:00:00Z", NOON),
        ("2015-06-01T08:00:00.000Z", datetime(2015, 6, 1, 8, tzinfo=UTC)),
        ("2026-03-01T11:59:59", NOON),
        ("0001-01-01T00:00:00Z", NOON),
        ("next week", NOON),
        (None, NOON),
    ],
)
def test_a_post_is_never_later_than_its_receipt(claimed: object, expected: datetime) -> None:
    event = jetstream.event_of(commit(createdAt=claimed))
    assert isinstance(event, SourcePost)
    assert event.created_at == expected


def test_the_time_of_receipt_can_be_given() -> None:
    event = jetstream.event_of(commit() | {"time_us": None}, received_at=datetime(2026, 3, 1, 11, tzinfo=UTC))
    assert isinstance(event, SourcePost)
    assert event.created_at == datetime(2026, 3, 1, 11, tzinfo=UTC)


def test_edits_and_deletions_of_jetstream() -> None:
    edited = jetstream.event_of(commit("update"))
    assert isinstance(edited, SourcePost)
    assert edited.edited
    assert jetstream.event_of(commit("delete")) == SourceDeletion(id=edited.id)
    for status in ("deleted", "takendown"):
        account = {"did": "did:plc:abc", "kind": "account", "account": {"active": False, "status": status}}
        assert jetstream.event_of(account) == SourceDeletion(author="did:plc:abc")


OTHER = {"collection": "app.bsky.feed.like", "rkey": "1", "operation": "create", "record": {}}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"did": "did:plc:abc", "kind": "identity"}, SkipReason.NOT_A_POST),
        ({"did": "did:plc:abc", "kind": "account", "account": {"status": "deactivated"}}, SkipReason.NOT_A_POST),
        ({"did": "did:plc:abc", "kind": "of another day"}, SkipReason.NOT_A_POST),
        ({"did": "did:plc:abc", "kind": "commit", "commit": OTHER}, SkipReason.NOT_A_POST),
        (commit(text=" \n"), SkipReason.EMPTY_TEXT),
        (commit(text=5), SkipReason.UNREADABLE),
        (commit("rename"), SkipReason.UNREADABLE),
        (commit(createdAt=None) | {"time_us": 5}, SkipReason.UNREADABLE),
        ({"did": "did:plc:abc", "kind": "commit", "commit": []}, SkipReason.UNREADABLE),
        ({"did": "abc", "kind": "commit"}, SkipReason.UNREADABLE),
        ({}, SkipReason.UNREADABLE),
    ],
)
def test_events_of_jetstream_that_are_no_posts(event: dict[str, Any], reason: SkipReason) -> None:
    skipped = jetstream.event_of(event)
    assert isinstance(skipped, SourceSkipped)
    assert skipped.reason is reason


STATUS: dict[str, Any] = {
    "id": "111",
    "created_at": "2026-03-01T12:00:00.000Z",
    "content": '<p>Love it<br>really &amp; truly <a href="https://m.example/tags/cats">#<span>cats</span></a></p>',
    "language": "en",
    "account": {"acct": "a@b"},
}


def test_a_status_of_mastodon() -> None:
    post = SourcePost(
        id="111",
        text="Love it\nreally & truly #cats",
        created_at=NOON,
        author="a@b",
        lang="en",
        keywords=("cats",),
    )
    assert mastodon.status_of(STATUS) == post
    edited = mastodon.status_of(STATUS | {"edited_at": "2026-03-01T12:05:00Z"})
    assert isinstance(edited, SourcePost)
    assert (edited.edited, edited.id, edited.created_at) == (True, "111", NOON)
    tagged = mastodon.status_of(STATUS | {"tags": [{"name": "Cats"}], "spoiler_text": "a < b", "url": "https://m/1"})
    assert isinstance(tagged, SourcePost)
    assert tagged.keywords == ("Cats",)
    assert tagged.text.startswith("a < b\nLove it\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reblog": {"id": "1"}}, SkipReason.NOT_A_POST),
        ({"visibility": "direct"}, SkipReason.NOT_A_POST),
        ({"content": "<p></p>"}, SkipReason.EMPTY_TEXT),
        ({"content": None}, SkipReason.UNREADABLE),
        ({"created_at": "?"}, SkipReason.UNREADABLE),
        ({"id": 1.5}, SkipReason.UNREADABLE),
    ],
)
def test_statuses_that_are_no_posts(change: dict[str, Any], reason: SkipReason) -> None:
    skipped = mastodon.status_of(STATUS | change)
    assert isinstance(skipped, SourceSkipped)
    assert skipped.reason is reason


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a  b\nc", "a b c"),
        ("<p>one</p>\n<p>two <b>three</b></p>four", "one\n\ntwo three\n\nfour"),
        ("<ul><li>x</li><li>y</li></ul>", "x\ny"),
        ("<pre>a\n  b</pre>c", "a\n  b\n\nc"),
        ("<p>a <br/> b</p>", "a\nb"),
        ("x<script>evil()</script><style>b{}</style><!-- c -->y", "xy"),
        ('<p class="quote-inline">RE: u</p><p>x</p>', "x"),
        ("caf&eacute; &#8364; &lt;b&gt;", "café € <b>"),
        ("a\0<b>\ud800\U00100000</b>\0", "a\0\ud800\U00100000\0"),
        ("1 < 2 & 3", "1 < 2 & 3"),
        ("<div>" * 5_000 + "x", "x"),
        ("<p></p>", ""),
    ],
)
def test_html_becomes_the_text_that_people_see(markup: str, text: str) -> None:
    assert html_text(markup) == text


def test_only_complete_references_are_replaced_and_once() -> None:
    assert unescaped("R&D &gt;.&lt; ?a=1&copy=2 &#39;&#x27; &amp;amp; &bogus; &#0;") == (
        "R&D >.< ?a=1&copy=2 '' &amp; &bogus; \ufffd"
    )


@given(st.text())
def test_any_text_is_html(markup: str) -> None:
    text, _ = html_text_and_hashtags(markup)
    assert text == text.strip()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("status"), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*commit(), "account"]), JSON), st.booleans())
@example({"kind": "account", "account": {"status": []}}, False)
def test_no_json_of_jetstream_raises(change: dict[str, Any], inside: bool) -> None:
    event = commit()
    jetstream.event_of(event | {"commit": event["commit"] | change} if inside else event | change)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*STATUS, "edited_at", "spoiler_text", "tags", "url", "visibility"]), JSON))
@example({"visibility": []})
def test_no_json_of_mastodon_raises(change: dict[str, Any]) -> None:
    mastodon.status_of(STATUS | change)
