"""Whatever lies on the raw topic is a post, as a `Post` would have it, or ends in a dead letter that holds it whole."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streams.dead_letters import dead_letter, outgoing
from streams.pipeline.decode import Rejection, decode_post
from streams.records import ClassifiedPost, DeadPost, DeadReason, ModelRef, Origin, Post, explain, to_ms
from tests.helpers import NOON, NOON_MS, message, raw_post

FUTURE_MS = 300_000
ORIGIN = Origin(topic="posts.raw", partition=0, offset=0)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
DATES = st.builds(
    "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}".format,
    st.sampled_from([0, 1, 1969, 1970, 2026, 9999]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(["T", " ", ""]),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from(["", "Z", "+00:00", "+14:00", "-12:00", "+23:59", "-23:59", ".5Z"]),
)
ALMOST = st.fixed_dictionaries(
    {"id": st.text() | JSON, "text": st.text() | JSON, "created_at": DATES | JSON, "source": st.text() | JSON},
    optional={"keywords": st.lists(st.text()) | JSON, "lang": JSON, "author": JSON, "url": JSON},
)
# What most producers write, with a field that is not what it should be, or some bytes that should not be there.
SHORT = st.text(min_size=1, max_size=15)
SECONDS = st.sampled_from(["2026-01-31T11:00:09", "2026-03-01T12:00:00", "1969-12-31T23:59:59"])
ODD_SECONDS = st.builds(
    "2026-0{}-{:02}{}{:02}:00:0{}".format,
    st.integers(1, 3),
    st.sampled_from([1, 29, 31]),
    st.sampled_from("TTTt_ "),
    st.sampled_from([0, 12, 24]),
    st.sampled_from(["", "0", "9", "\N{ARABIC-INDIC DIGIT NINE}"]),
)
FRACTIONS = st.sampled_from(["", ".1", ".12", ".123", ".1234", ".123456"])
ODD_FRACTIONS = st.sampled_from([".1234567", ".", ",5"])
IN_UTC = st.sampled_from(["Z", "+00:00"])
ODD_ZONES = st.sampled_from(["z", "-00:00", "+0000", "+00", "+02:00", "", " Z", "Z\n"])
MOMENTS = st.one_of(
    *(st.builds("{}{}{}".format, SECONDS, FRACTIONS, IN_UTC) for _ in range(4)),
    st.builds("{}{}{}".format, SECONDS | ODD_SECONDS, FRACTIONS | ODD_FRACTIONS, IN_UTC | ODD_ZONES),
)
USUAL = st.fixed_dictionaries(
    {"id": SHORT, "text": SHORT, "created_at": MOMENTS, "source": SHORT},
    optional={
        "keywords": st.none() | st.lists(st.text(max_size=5) | st.sampled_from([" a", "a ", "*"]), max_size=4),
        "lang": st.none() | st.text(max_size=36),
        "author": st.none() | SHORT,
        "url": st.none() | SHORT,
        "more": JSON,
    },
)
ODD = st.sampled_from(
    [
        b"",
        b"\0",
        b"\\u0000",
        b"\\\\u0000",
        b"\xff",
        b"\\ud800",
        b'"',
        b"\n",
        b"\t",
        b'"id":"2",',
        b'"created_at":0,',
        b"NaN",
    ]
)


@st.composite
def almost_usual(draw: st.DrawFn) -> bytes:
    fields = draw(USUAL)
    if draw(st.booleans()):
        fields[draw(st.sampled_from(sorted(fields)))] = draw(JSON | st.lists(st.text(max_size=1), min_size=60))
    value = json.dumps(fields, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    at = draw(st.integers(0, len(value)))
    return value[:at] + draw(ODD) + value[at:]


VALUES = st.one_of(
    st.none(),
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    ALMOST.map(lambda value: json.dumps(value).encode()),
    USUAL.map(lambda value: json.dumps(value).encode()),
    almost_usual(),
)


@given(VALUES, st.none() | st.binary(), st.sampled_from(DeadReason), st.text())
def test_a_dead_letter_holds_any_message_whole(
    value: bytes | None, key: bytes | None, reason: DeadReason, error: str
) -> None:
    letter = dead_letter(message(value, key=key, offset=7), reason, error)
    # What goes to the log is JSON again, whatever it holds.
    written = outgoing(letter, "posts.dead")
    read = DeadPost.model_validate_json(written.value)
    assert read.model_dump(exclude={"failed_at"}) == letter.model_dump(exclude={"failed_at"})
    assert base64.b64decode(letter.raw) == (value or b"")
    assert (letter.key is None) == (key is None)
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("posts.raw", 0, 7)


def read_as_model(value: bytes | None) -> tuple[Post | None, str]:
    try:
        return Post.model_validate_json(value or b""), ""
    except ValidationError as exc:
        return None, explain(exc)


@given(VALUES)
@settings(max_examples=1_000)
def test_any_bytes_are_a_post_or_rejected_as_a_post_would(value: bytes | None) -> None:
    decoded = decode_post(value, text_max_chars=20, max_future_ms=FUTURE_MS, now_ms=NOON_MS)
    post, error = read_as_model(value)
    if post is None:
        assert isinstance(decoded, Rejection)
        reasons = {DeadReason.INVALID_JSON, DeadReason.INVALID_RECORD} if value else {DeadReason.EMPTY_MESSAGE}
        assert decoded.reason in reasons
        assert decoded.error == (error if value else "the message has no value")
        assert "\n" not in decoded.error
        return
    if isinstance(decoded, Rejection):
        assert not post.text.strip() or len(post.text) > 20 or to_ms(post.created_at) > NOON_MS + FUTURE_MS
        return
    assert decoded.text.strip()
    assert len(decoded.text) <= 20
    assert to_ms(post.created_at) <= NOON_MS + FUTURE_MS
    assert decoded == raw_post(post)
    # A post that was let in can be classified, written and read again.
    result = ClassifiedPost(
        **post.model_dump(exclude={"text"}),
        label="joy",
        confidence=1,
        scores={},
        model=ModelRef(name="m", version="1"),
        origin=ORIGIN,
        classified_at=NOON,
    )
    assert ClassifiedPost.model_validate_json(result.model_dump_json()).keywords == decoded.keywords
