"""A record that is written as JSON and read back is the same, and so is a time as milliseconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import asdict

from models.text.language import Language
from streams.classification.predictions import Prediction, classified_post
from streams.records import (
    EARLIEST,
    ClassifiedPost,
    ControlCommand,
    ControlRecord,
    DeadPost,
    DeadReason,
    DeletionReason,
    DeletionRecord,
    EmotionWindow,
    Keywords,
    LabelStats,
    LatePost,
    ModelRef,
    Origin,
    Post,
    Record,
    Sentiment,
    SentimentStats,
    from_ms,
    rfc3339,
    to_ms,
)
from streams.sink.rows import post_row

YEAR_9999_MS = 253_402_300_799_999
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAME = TEXT.filter(bool)
MOMENT = st.integers(0, YEAR_9999_MS).map(from_ms)
COUNT = st.integers(0, 2**53)
SHARE = st.floats(0, 1)
ORIGIN = st.builds(Origin, topic=TEXT, partition=COUNT, offset=COUNT)
KEYWORD = NAME.map(str.strip).filter(lambda word: word not in {"", "*"})

CLASSIFIED = st.builds(
    ClassifiedPost,
    id=NAME,
    source=NAME,
    keywords=st.lists(KEYWORD, max_size=4).map(tuple),
    created_at=MOMENT,
    text=st.none() | TEXT,
    lang=st.none() | TEXT,
    lang_confidence=st.none() | SHARE,
    label=st.none() | TEXT,
    confidence=st.none() | SHARE,
    scores=st.dictionaries(TEXT, SHARE, max_size=4),
    sentiment=st.none() | st.builds(Sentiment, label=TEXT, score=st.floats(-1, 1)),
    model=st.builds(ModelRef, name=TEXT, version=TEXT, tier=TEXT),
    origin=ORIGIN,
    classified_at=MOMENT,
    truncated=st.booleans(),
)

POST = st.builds(
    Post,
    id=NAME,
    text=TEXT,
    created_at=MOMENT,
    source=NAME,
    keywords=st.lists(KEYWORD, unique=True, max_size=4).map(Keywords),
    lang=st.none() | TEXT,
    author=st.none() | TEXT,
    url=st.none() | TEXT,
    truncated=st.booleans(),
)

RECORDS: st.SearchStrategy[Record] = st.one_of(
    POST,
    CLASSIFIED,
    st.builds(
        EmotionWindow,
        keyword=TEXT,
        size=st.integers(1, 2_678_400),
        start=MOMENT,
        end=MOMENT,
        count=COUNT,
        labels=st.dictionaries(TEXT, st.builds(LabelStats, count=COUNT, pct=st.floats(0, 100), mean_confidence=SHARE)),
        sentiment=st.none() | st.builds(SentimentStats, labels=st.dictionaries(TEXT, COUNT), mean_sentiment=SHARE),
        models=st.dictionaries(TEXT, COUNT),
        sources=st.dictionaries(TEXT, COUNT),
        unsupported=COUNT,
        languages=st.dictionaries(TEXT, COUNT),
        first_event=MOMENT,
        last_event=MOMENT,
        revision=COUNT,
        final=st.booleans(),
        late=COUNT,
    ),
    st.builds(
        DeadPost,
        reason=st.sampled_from(DeadReason),
        error=TEXT,
        raw=TEXT,
        raw_bytes=st.integers(0, 2**40),
        key=st.none() | TEXT,
        raw_key=st.none() | TEXT,
        raw_key_bytes=st.integers(0, 2**40),
        origin=ORIGIN,
        failed_at=MOMENT,
    ),
    st.builds(LatePost, id=NAME, created_at=MOMENT, size=COUNT, start=MOMENT, latest_event_time=MOMENT, origin=ORIGIN),
    st.builds(ControlRecord, command=st.sampled_from(ControlCommand)),
    st.builds(DeletionRecord, source=NAME, author=NAME, at=MOMENT, reason=st.sampled_from(DeletionReason)),
    st.builds(DeletionRecord, source=st.none() | NAME, id=NAME, at=MOMENT, reason=st.sampled_from(DeletionReason)),
)


@given(RECORDS)
def test_a_record_that_is_read_back_is_the_same(record: Record) -> None:
    assert type(record).from_json(record.to_json()) == record


@given(POST, CLASSIFIED, st.booleans())
def test_a_classified_post_has_the_fields_of_the_post_and_the_prediction(
    post: Post, like: ClassifiedPost, keep_text: bool
) -> None:
    prediction: Prediction | ModelRef = like.model
    if like.label is not None and like.confidence is not None:
        prediction = Prediction(like.label, like.confidence, like.scores, like.sentiment, like.model)
    else:
        like = structs.replace(like, label=None, confidence=None, scores={}, sentiment=None)
    language = Language("de", 0.25)
    found = classified_post(
        post, prediction, language, like.origin, classified_at=like.classified_at, keep_text=keep_text
    )
    written, raw = json.loads(found.to_json()), json.loads(post.to_json())
    of_post = {name: raw.get(name) for name in ("id", "source", "created_at", "author", "url")}
    of_post |= {"lang": "de", "lang_confidence": 0.25}
    of_post |= {"keywords": raw.get("keywords", []), "text": raw["text"] if keep_text else None}
    of_post |= {"truncated": raw.get("truncated", False)}
    of_model = json.loads(like.to_json())
    predicted = ("label", "confidence", "scores", "sentiment", "model", "origin", "classified_at")
    assert written == of_post | {name: of_model[name] for name in predicted}


@given(st.integers(-62_135_596_800_000, YEAR_9999_MS))
def test_from_ms_is_the_inverse_of_to_ms(milliseconds: int) -> None:
    assert to_ms(from_ms(milliseconds)) == milliseconds


@given(
    st.integers(2 * 86_400_000_000, YEAR_9999_MS * 1_000 - 2 * 86_400_000_000),
    st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_a_time_is_written_in_utc_with_milliseconds(microseconds: int, zone: timezone) -> None:
    moment = (EARLIEST + timedelta(microseconds=microseconds)).astimezone(zone)
    text = rfc3339(moment)
    assert text.endswith("Z")
    assert len(text) == len("2026-03-01T12:00:00.000Z")
    read = datetime.fromisoformat(text)
    assert read.tzinfo == UTC
    assert timedelta(0) <= moment - read < timedelta(milliseconds=1)
    assert to_ms(read) == to_ms(moment)


@given(CLASSIFIED)
def test_a_row_has_the_fields_of_the_record(post: ClassifiedPost) -> None:
    row = post_row(post)
    plain = ("id", "source", "created_at", "text", "lang", "author", "url", "label", "confidence", "scores")
    plain += ("lang_confidence",)
    assert row._asdict() == {
        **{name: getattr(post, name) for name in plain},
        "classified_at": post.classified_at,
        "keywords": list(post.keywords),
        "sentiment_label": post.sentiment and post.sentiment.label,
        "sentiment_score": post.sentiment and post.sentiment.score,
        **{f"model_{name}": value for name, value in asdict(post.model).items()},
        **{f"origin_{name}": value for name, value in asdict(post.origin).items()},
    }
