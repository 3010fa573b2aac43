from __future__ import annotations

import io
import json
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace
from rich.console import Console

from connectors.kafka.tail import KafkaRecord
from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable, printable_json, printable_name
from streams.cli.render import renderer
from streams.cli.tail import limited, topic_name, value_as_json
from streams.records import (
    ClassifiedPost,
    DeadPost,
    DeadReason,
    EmotionTotals,
    EmotionWindow,
    Keywords,
    KeywordTotals,
    LabelStats,
    LatePost,
    ModelRef,
    Origin,
    Post,
    Record,
    Sentiment,
    SentimentStats,
    Timestamp,
)
from streams.settings import Settings

NOW = Timestamp(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
ORIGIN = Origin(topic="posts.raw", partition=2, offset=17)
MODEL = ModelRef(name="m", version="1")
SETTINGS = Settings()
POST = Post(
    id="1", text="good\nmorning \x1b[31m", created_at=NOW, source="forum", keywords=Keywords(("coffee", "rain"))
)
RECORDS: list[tuple[str, Record, str]] = [
    ("raw", POST, r"03-01 12:00:05Z forum [coffee, rain] good morning \x1b[31m"),
    (
        "classified",
        ClassifiedPost(
            **asdict(POST),
            label="joy",
            confidence=0.9,
            scores={"joy": 0.9, "fear": 0.1},
            model=MODEL,
            origin=ORIGIN,
            classified_at=NOW,
        ),
        r"03-01 12:00:05Z joy      0.90 [coffee, rain] good morning \x1b[31m",
    ),
    (
        "classified",
        ClassifiedPost(
            **asdict(POST),
            label="größer als 🙂",
            confidence=0.9,
            scores={"größer als 🙂": 0.9},
            sentiment=Sentiment(label="negative", score=-0.256),
            model=MODEL,
            origin=ORIGIN,
            classified_at=NOW,
        ),
        r"03-01 12:00:05Z größer als 🙂 0.90 -0.26 [coffee, rain] good morning \x1b[31m",
    ),
    (
        "dead",
        DeadPost(
            reason=DeadReason.EMPTY_TEXT,
            error="text: is empty",
            raw="",
            raw_bytes=0,
            key=None,
            origin=ORIGIN,
            failed_at=NOW,
        ),
        "03-01 12:00:05Z empty_text posts.raw[2]@17 text: is empty",
    ),
    (
        "late",
        LatePost(id="1", created_at=NOW, size=60, start=NOW, latest_event_time=NOW, origin=ORIGIN),
        "03-01 12:00:05Z late 1 too late for the window 2026-03-01T12:00:05.000Z of 60 s; "
        "latest event time of its partition 2026-03-01T12:00:05.000Z",
    ),
    (
        "windows",
        EmotionWindow(
            keyword="coffee",
            size=60,
            start=NOW,
            end=NOW,
            count=3,
            labels={
                "fear": LabelStats(count=1, pct=33.3, mean_confidence=0.5),
                "joy": LabelStats(count=2, pct=66.7, mean_confidence=0.5),
            },
            models={"1": 3},
            sources={"forum": 3},
            first_event=NOW,
            last_event=NOW,
            revision=4,
            final=True,
            late=1,
        ),
        "03-01 12:00:05Z 1m coffee            3 joy 67% fear 33% final rev 4, 1 late",
    ),
    (
        "totals",
        EmotionTotals(
            at=NOW,
            size=86_400,
            start=NOW,
            end=NOW,
            keywords={
                "*": KeywordTotals(count=40, labels={"fear": 10, "joy": 30}, mean_sentiment=0.25),
                "coffee": KeywordTotals(count=9, labels={"joy": 9}),
                "tea\x07": KeywordTotals(count=1, labels={"joy": 1}),
            },
        ),
        r"03-01 12:00:05Z 1d from 03-01 12:00Z     40 +0.25 joy 75% fear 25% coffee 9 tea\x07 1",
    ),
]


def shown(topic: str, value: bytes | None, key: bytes | None = b"k") -> str:
    return renderer(SETTINGS, topic, LabelStyles(Console(file=io.StringIO())))(KafkaRecord(0, 7, key, value)).plain


@pytest.mark.parametrize(
    ("short_name", "record", "expected"), RECORDS, ids=[short_name for short_name, _, _ in RECORDS]
)
def test_each_kind_of_record_is_one_line(short_name: str, record: Record, expected: str) -> None:
    assert shown(topic_name(SETTINGS, short_name), record.to_json()) == expected


def test_a_long_value_that_is_no_record_is_cut() -> None:
    assert shown("posts.other", b"x" * 5_000) == f"[0]@7 k {'x' * 2_000} … (5,000 bytes)"
    assert shown("posts.other", b"x" * 2_000) == f"[0]@7 k {'x' * 2_000}"


def test_a_post_without_a_label_shows_its_language() -> None:
    _, record, _ = next(line for line in RECORDS if line[0] == "classified")
    unread = replace(record, lang="es", label=None, confidence=None, scores={}, sentiment=None)
    assert "Z (es)     " in shown(topic_name(SETTINGS, "classified"), unread.to_json())


def test_posts_in_other_languages_are_counted_apart() -> None:
    _, window, line = next(line for line in RECORDS if line[0] == "windows")
    text = shown(topic_name(SETTINGS, "windows"), replace(window, unsupported=7).to_json())
    assert text == f"{line}, 7 unsupported"
    _, totals, _ = next(line for line in RECORDS if line[0] == "totals")
    every = replace(totals.keywords["*"], unsupported=7)
    text = shown(topic_name(SETTINGS, "totals"), replace(totals, keywords={"*": every}).to_json())
    assert text.endswith("joy 75% fear 25% 7 unsupported ")


def test_a_window_shows_its_mean_sentiment() -> None:
    short_name, record, expected = next(line for line in RECORDS if line[0] == "windows")
    scored = replace(record, sentiment=SentimentStats(labels={"positive": 3}, mean_sentiment=0.125))
    line = shown(topic_name(SETTINGS, short_name), scored.to_json())
    assert line == expected.replace("     3 joy", "     3 +0.12 joy")


@pytest.mark.parametrize("topic", ["posts.raw", "another"])
def test_other_records_are_shown_as_key_and_value(topic: str) -> None:
    assert shown(topic, b"\xff not a record\x07") == r"[0]@7 k � not a record\x07"
    assert shown(topic, None, None) == "[0]@7 (null) (null)"


def test_a_short_name_means_its_topic_and_other_names_mean_themselves() -> None:
    assert topic_name(SETTINGS, "dead") == "posts.dead"
    assert topic_name(SETTINGS, "control") == "control"


def test_a_limit_does_not_wait_for_a_further_record() -> None:
    items = iter([1, 2, 3])
    assert list(limited(items, 2)) == [1, 2]
    assert next(items) == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (b'{\n\t"a": 1.50\r\n}', '{  "a": 1.50  }'),
        ('{"a": "\x9b2J\u202e"}'.encode(), r'{"a": "\u009b2J\u202e"}'),
        (b"no json\x1b", r'"no json\u001b"'),
        (b"\xff", '"�"'),
        (b"NaN", '"NaN"'),
    ],
)
def test_json_lines(value: bytes | None, expected: str) -> None:
    assert value_as_json(value) == expected


UNSAFE = set(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x200B, 0x2028, 0xE0067]))


@given(st.text())
def test_printable_is_one_safe_line(text: str) -> None:
    line = printable(text + "\x1b\u202e\U000e0067")
    assert not set(line) & UNSAFE
    assert line.isprintable() or not line.isascii()


@given(st.text())
def test_printable_name_is_one_safe_line(text: str) -> None:
    assert not set(printable_name(text + "\x1b\u202e\U000e0067")) & UNSAFE


def test_names_that_differ_in_white_space_look_different() -> None:
    shown = ["new york", r"new \x20york", r"new\xa0york", r"new\tyork", r"new\u3000york"]
    names = ["new york", "new  york", "new\xa0york", "new\tyork", "new\u3000york"]
    assert [printable_name(name) for name in names] == shown


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    )
)
def test_printable_json_is_the_same_document(document: object) -> None:
    for text in (json.dumps(document, ensure_ascii=False), json.dumps(document, ensure_ascii=False, indent="\t")):
        line = printable_json(text)
        assert json.loads(line) == document
        assert not set(line) & UNSAFE
