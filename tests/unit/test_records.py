from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from streams.records import (
    EARLIEST,
    ClassifiedPost,
    EmotionTotals,
    EmotionWindow,
    KeywordTotals,
    LatePost,
    MalformedRecordError,
    Origin,
    Post,
    Record,
    RecordError,
    Timestamp,
    from_ms,
    rfc3339,
    to_ms,
)
from streams.windows.codec import to_window
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON, NOON_MS, classified

POST: dict[str, Any] = {"id": "1", "text": "hello", "created_at": "2026-03-01T12:00:00Z", "source": "web"}
INDIA = timezone(timedelta(hours=5, minutes=30))


def read(**fields: Any) -> Post:
    return Post.from_json(json.dumps({**POST, **fields}).encode())


def refusal(**fields: Any) -> str:
    with pytest.raises(RecordError) as caught:
        read(**fields)
    line = str(caught.value)
    assert "\n" not in line
    return line


# Times


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-03-01T12:00:00.000Z"),
        (NOON.astimezone(INDIA), "2026-03-01T12:00:00.000Z"),
        (NOON + timedelta(microseconds=1_999), "2026-03-01T12:00:00.001Z"),
        (EARLIEST, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_written_in_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_milliseconds_are_exact() -> None:
    assert to_ms(NOON) == NOON_MS
    assert to_ms(NOON.astimezone(INDIA)) == NOON_MS
    assert to_ms(EARLIEST) == 0
    assert to_ms(EARLIEST + timedelta(microseconds=999)) == 0
    assert to_ms(EARLIEST - timedelta(microseconds=1)) == -1
    assert from_ms(253_402_300_799_999) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01 12:00:00+00:00", NOON),
        ("2026-03-01T17:30:00+05:30", NOON),
        ("2026-03-01T17:30:00+05:60", None),
        ("2026-02-28T12:00:00.250-24:00", None),
        ("2026-03-01T12:00:00.250000Z", NOON + timedelta(milliseconds=250)),
        ("1970-01-01T00:00:00Z", EARLIEST),
        ("1970-01-01T01:00:00+01:00", EARLIEST),
    ],
)
def test_times_that_are_accepted(written: str, read_as: datetime | None) -> None:
    if read_as is None:
        assert refusal(created_at=written).startswith("created_at: ")
        return
    created_at = read(created_at=written).created_at
    assert created_at == read_as
    assert created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "written",
    [
        1_772_366_400,
        1_772_366_400_000,
        1.5,
        "1772366400",
        "1772366400000",
        "1772366400.5",
        "-1",
        True,
        None,
        [],
        "",
        "now",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-13-01T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:00:00 UTC",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:30:00+01:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-03-01T12:00:00Z",
    ],
)
def test_times_that_are_refused(written: object) -> None:
    assert refusal(created_at=written).startswith("created_at: ")


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("now", "is not a date and time; write 2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00", "has no time zone; write 2026-03-01T12:00:00Z"),
        ("2026-02-28T24:00:00Z", "has the hour 24; write 00:00 of the next day"),
        ("2016-12-31T23:59:60Z", "has a leap second, which cannot be stored; write second 59"),
        ("2026-02-29T12:00:00Z", "is not a valid date and time with a time zone; write 2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00 UTC", "is not a valid date and time with a time zone; write 2026-03-01T12:00:00Z"),
    ],
)
def test_a_refused_time_is_explained(written: str, problem: str) -> None:
    assert refusal(created_at=written) == f"created_at: {problem}"


@pytest.mark.parametrize("name", ["created_at", "classified_at"])
@pytest.mark.parametrize("written", ["9999-12-31T23:59:59-01:00", "1772366400", "2026-03-01T12:00:00"])
def test_the_times_of_a_classified_post_are_checked_too(name: str, written: str) -> None:
    value = {**json.loads(classified(0).to_json()), name: written}
    with pytest.raises(RecordError, match=f"^{name}: "):
        ClassifiedPost.from_json(json.dumps(value).encode())


def test_a_time_of_another_zone_is_the_same_time_in_utc() -> None:
    found = Timestamp.of(NOON.astimezone(INDIA))
    assert (found, found.utcoffset(), found.rfc3339()) == (NOON, timedelta(0), "2026-03-01T12:00:00.000Z")
    with pytest.raises(ValueError, match="no time zone"):
        Timestamp.of(datetime(2026, 3, 1))  # noqa: DTZ001


# Posts


def test_the_smallest_post() -> None:
    post = read()
    assert (post.keywords, post.lang, post.author, post.url) == ((), None, None, None)


def test_unknown_fields_are_ignored() -> None:
    assert read(likes=3, nested={"a": [1]}) == read()


@pytest.mark.parametrize("name", POST)
def test_a_field_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(RecordError, match=f"^{name}: is missing$"):
        Post.from_json(json.dumps({key: value for key, value in POST.items() if key != name}).encode())


@pytest.mark.parametrize("name", ["id", "text", "source", "lang", "author", "url"])
@pytest.mark.parametrize("value", [7, True, ["x"], "a\0b"])
def test_text_fields_take_only_strings_without_nul(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "longest"), [("id", 512), ("source", 200), ("lang", 35), ("author", 512), ("url", 4_096)]
)
def test_the_longest_value_of_each_field(name: str, longest: int) -> None:
    assert getattr(read(**{name: "é" * longest}), name) == "é" * longest
    assert refusal(**{name: "é" * (longest + 1)}).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["id", "source"])
def test_id_and_source_are_not_empty(name: str) -> None:
    assert refusal(**{name: ""}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, ()),
        ([], ()),
        ([" tea ", "tea", "", "  ", "Tea"], ("tea", "Tea")),
        (["b", "a", "b"], ("b", "a")),
        (["a|b", "{x}", "a\nb"], ("a|b", "{x}", "a\nb")),
        ([str(number) for number in range(64)] * 2, tuple(str(number) for number in range(64))),
        (["x" * 200], ("x" * 200,)),
    ],
)
def test_keywords_are_cleaned(given: object, kept: tuple[str, ...]) -> None:
    assert read(keywords=given).keywords == kept


@pytest.mark.parametrize(
    "given",
    [
        "tea",
        {"tea": 1},
        [None],
        [7],
        ["*"],
        ["tea", " * "],
        ["a\0"],
        ["x" * 201],
        [str(number) for number in range(65)],
    ],
)
def test_keywords_that_are_refused(given: object) -> None:
    assert refusal(keywords=given).startswith("keywords")


def test_a_refusal_does_not_quote_the_post() -> None:
    assert "hunter" not in refusal(id=["hunter"], created_at="hunter", source="hunter" * 50, keywords="hunter")


def test_a_record_is_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        read().text = "x"  # type: ignore[misc]


# Windows


def test_a_window_that_version_0_1_published_is_read() -> None:
    """Both of its means were called `avg_score`."""
    row = {"n": "2", "l:avg_score": "2", "c:avg_score": "1500000", "t:positive": "2", "ts": "500000", "rev": "1"}
    window = to_window(WindowKey("tea", 60, NOON_MS), row)
    written = json.loads(window.to_json())
    written["labels"]["avg_score"]["avg_score"] = written["labels"]["avg_score"].pop("mean_confidence")
    written["sentiment"]["avg_score"] = written["sentiment"].pop("mean_sentiment")
    assert EmotionWindow.from_json(json.dumps(written).encode()) == window


def test_totals_that_version_0_1_published_are_read() -> None:
    keywords = {"*": KeywordTotals(count=3, labels={"joy": 3}, mean_sentiment=0.5)}
    totals = EmotionTotals(at=NOON, size=60, start=NOON, end=NOON, keywords=keywords)
    written = totals.to_json().replace(b"mean_sentiment", b"avg_sentiment")
    assert EmotionTotals.from_json(written) == totals


def test_a_late_post_that_version_0_1_wrote_is_read() -> None:
    origin = Origin(topic="posts.raw", partition=0, offset=1)
    late = LatePost(id="1", created_at=NOON, size=60, start=NOON, latest_event_time=NOON, origin=origin)
    assert LatePost.from_json(late.to_json().replace(b"latest_event_time", b"watermark")) == late


OLD_NAMES = [(EmotionWindow, b'"avg_score"'), (EmotionTotals, b'"avg_sentiment"'), (LatePost, b'"watermark"')]


@pytest.mark.parametrize(("kind", "name"), OLD_NAMES)
@pytest.mark.parametrize(
    "form",
    [
        b"%s",
        b"{%s: 1}",
        b'{"labels": {"joy": {%s: "x"}}}',
        b'{"keywords": {"*": {%s: "x"}}}',
        b'{"labels": [%s], "keywords": 1}',
        b"{%s: 1e999}",
    ],
)
def test_a_value_that_only_resembles_an_old_record_is_refused(kind: type[Record], name: bytes, form: bytes) -> None:
    with pytest.raises(RecordError):
        kind.from_json(form % name)


@pytest.mark.parametrize("rest", [b"", b'"z":', b'"z": NaN}', b'"z": "\xff"}', b"} more", b'"z": ' + 100_000 * b"["])
@pytest.mark.parametrize(("kind", "name"), [*OLD_NAMES, (Post, b'"id": 5, "id"'), (ClassifiedPost, b'"label"')])
def test_a_value_that_is_no_json_is_malformed_although_a_field_is_wrong(
    kind: type[Record], name: bytes, rest: bytes
) -> None:
    """The decoder stops at the wrong field, before it has seen the rest."""
    with pytest.raises(MalformedRecordError):
        kind.from_json(b"{%s: 1, %s" % (name, rest))


def test_text_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(RecordError, match="surrogate"):
        Post.from_fields({**POST, "source": "\udcff"})
