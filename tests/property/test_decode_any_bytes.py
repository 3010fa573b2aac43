"""Any bytes on the raw topic become a post that every later stage accepts, or a dead letter that holds all of them."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models.text.language import Language
from streams.characters import cleaned_json
from streams.classification.predictions import Prediction, classified_post
from streams.dead_letters import dead_letter, outgoing
from streams.pipeline.decode import Rejection, Repairs, decode_post
from streams.records import EARLIEST, ClassifiedPost, DeadPost, DeadReason, ModelRef, Origin
from tests.helpers import NOON, NOON_MS, message

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
# Posts as most producers write them; some have an odd field, or odd bytes in between.
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
def test_a_dead_letter_holds_any_message(
    value: bytes | None, key: bytes | None, reason: DeadReason, error: str
) -> None:
    letter = dead_letter(message(value, key=key, offset=7), reason, error)
    # The dead letter itself is JSON, whatever the message was.
    written = outgoing(letter, "posts.dead")
    read = DeadPost.from_json(written.value)
    assert replace(read, failed_at=NOON) == replace(letter, failed_at=NOON)
    assert base64.b64decode(letter.raw) == (value or b"")
    assert (written.key, read.key_bytes()) == (key, key)
    assert (letter.key is None) == (key is None)
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("posts.raw", 0, 7)


@given(VALUES)
@settings(max_examples=1_000)
def test_any_bytes_are_a_post_or_rejected_with_a_reason(value: bytes | None) -> None:
    decoded = decode_post(value, text_max_chars=20, max_future_ms=FUTURE_MS, now_ms=NOON_MS)
    if isinstance(decoded, Rejection):
        assert decoded.error
        assert "\n" not in decoded.error
        if decoded.reason in {DeadReason.INVALID_JSON, DeadReason.INVALID_RECORD}:
            assert not is_plain(value)
        return
    assert decoded.text.strip()
    assert len(decoded.text) <= 20
    assert decoded.created_at >= EARLIEST
    assert decoded.created_at.ms <= NOON_MS + FUTURE_MS
    # The post has the values of the JSON.
    written = json.loads(value or b"")
    assert (decoded.id, decoded.text, decoded.source) == (written["id"], written["text"], written["source"])
    assert decoded.created_at == moment(written["created_at"])
    assert list(decoded.keywords) == clean(written.get("keywords") or [])
    for name in ("lang", "author", "url"):
        assert getattr(decoded, name) == written.get(name)
    # An accepted post can be classified, written and read again, and PostgreSQL can store it.
    texts = (decoded.id, decoded.text, decoded.source, *decoded.keywords, decoded.lang, decoded.author, decoded.url)
    assert not any("\0" in text for text in texts if text)
    prediction = Prediction("joy", 1.0, {}, None, ModelRef("m", "1"))
    result = classified_post(decoded, prediction, Language("en", 1.0), ORIGIN, classified_at=NOON, keep_text=True)
    again = ClassifiedPost.from_json(result.to_json())
    assert (again.text, list(again.keywords), again.created_at.ms) == (
        decoded.text,
        list(decoded.keywords),
        decoded.created_at.ms,
    )


@given(VALUES)
def test_repairs_change_nothing_but_what_cannot_be_stored(value: bytes | None) -> None:
    limits = {"text_max_chars": 20, "max_future_ms": FUTURE_MS, "now_ms": NOON_MS}
    repairs = Repairs(characters=True)
    plain, repaired = decode_post(value, **limits), decode_post(value, **limits, repairs=repairs)
    if repairs.cleaned:
        assert isinstance(plain, Rejection)
        assert cleaned_json(value or b"") != value
    else:
        assert repaired == plain


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written.upper())


def clean(keywords: list[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, map(str.strip, keywords))))


def is_plain(value: bytes | None) -> bool:
    """Whether a message is certainly a valid post, as most producers write it."""
    try:
        fields = json.loads((value or b"").decode())
        assert fields.keys() == {"id", "text", "created_at", "source"}
        assert all(isinstance(text, str) and text and "\0" not in text and len(text) <= 20 for text in fields.values())
        assert re.fullmatch(r"20\d\d-0[13]-[0-2][1-8]T1[0-9]:[0-5]\d:[0-5]\dZ", fields["created_at"])
        json.dumps(fields, ensure_ascii=False).encode()
        assert len(re.findall(rb'"(?:id|text|created_at|source)"', value or b"")) == 4
    except (AssertionError, ValueError, AttributeError, RecursionError):
        return False
    return True
