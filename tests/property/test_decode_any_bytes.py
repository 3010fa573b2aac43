"""Whatever lies on the raw topic ends as a post or as a dead letter that holds it whole."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.decode import decode_post
from streams.records import ClassifiedPost, DeadPost, ModelRef, Origin, Post
from tests.helpers import NOON

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
VALUES = st.one_of(
    st.none(),
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    ALMOST.map(lambda value: json.dumps(value).encode()),
)


@given(VALUES, st.none() | st.binary())
@settings(max_examples=1_500)
def test_any_bytes_are_a_post_or_a_dead_letter(value: bytes | None, key: bytes | None) -> None:
    decoded = decode_post(value, key, ORIGIN, text_max_chars=20, max_future=timedelta(seconds=300), now=NOON)
    if isinstance(decoded, DeadPost):
        # What goes to the log is JSON again, whatever it holds.
        letter = DeadPost.model_validate_json(decoded.model_dump_json())
        assert base64.b64decode(letter.raw) == (value or b"")
        assert (letter.key is None) == (key is None)
        assert "\n" not in letter.error
        return
    assert isinstance(decoded, Post)
    assert decoded.text.strip()
    assert len(decoded.text) <= 20
    assert decoded.created_at <= NOON + timedelta(seconds=300)
    # A post that was let in can be classified, written and read again.
    result = ClassifiedPost(
        **decoded.model_dump(exclude={"text"}),
        label="joy",
        confidence=1,
        scores={},
        model=ModelRef(name="m", version="1"),
        origin=ORIGIN,
        classified_at=NOON,
    )
    assert ClassifiedPost.model_validate_json(result.model_dump_json()).keywords == decoded.keywords
