from __future__ import annotations

import hashlib
import pickle
import re
from datetime import UTC, datetime, timedelta

import pytest

from streams.access.keys import GivenKey, StoredKey, is_key_id, new_key, parse_key
from streams.access.scopes import ALL_SCOPES, Scope, known_scopes

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stored(key: GivenKey, **fields: object) -> StoredKey:
    values = {
        "id": key.id,
        "name": "n",
        "sha256": key.sha256(),
        "scopes": ALL_SCOPES,
        "requests_per_minute": None,
        "created_at": NOON,
        "expires_at": None,
        "revoked_at": None,
        "last_used_on": None,
        **fields,
    }
    return StoredKey(**values)  # type: ignore[arg-type]


def test_a_key_is_read_as_it_is_written() -> None:
    key = new_key()
    text = key.reveal()
    assert re.fullmatch(r"emo_[0-9a-z]{10}_[0-9A-Za-z]{49}", text)
    assert parse_key(text) == key
    assert is_key_id(key.id)


def test_keys_differ() -> None:
    keys = {new_key().reveal() for _ in range(100)}
    assert len(keys) == len({key[4:14] for key in keys}) == len({key[15:] for key in keys}) == 100


def test_a_key_with_a_typing_error_is_none() -> None:
    text = new_key().reveal()
    for place in range(len(text)):
        for wrong in {"x", "0", "A", "_", "ö", " "} - {text[place]}:
            assert parse_key(text[:place] + wrong + text[place + 1 :]) is None
        assert parse_key(text[:place] + text[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "emo_", "emo__", "emo_a_b", "x" * 100_000, "emo_" + "é" * 60, "emo_\0", "\n"])
def test_other_text_is_no_key(text: str) -> None:
    assert parse_key(text) is None
    assert parse_key(new_key().reveal() + text[:1] + "\n") is None


def test_a_stored_key_knows_the_right_secret() -> None:
    key, other = new_key(), new_key()
    assert stored(key).matches(key)
    assert not stored(key).matches(GivenKey(key.id, other.secret))
    assert key.sha256() == hashlib.sha256(key.reveal()[15:].encode()).digest()


def test_a_key_expires_at_its_time() -> None:
    key = stored(new_key(), expires_at=NOON)
    assert not key.is_expired(NOON - timedelta(microseconds=1))
    assert key.is_expired(NOON)
    assert not stored(new_key()).is_expired(NOON)


def test_no_representation_has_the_secret() -> None:
    key = new_key()
    for text in (repr(key), str(key), f"{key}", repr([key]), repr(stored(key))):
        assert key.secret not in text
        assert repr(key.sha256())[2:20] not in text
    assert pickle.loads(pickle.dumps(key)) == key  # what is compared above is the whole key


def test_scopes_may_have_the_name_of_the_service_and_unknown_ones_grant_nothing() -> None:
    assert known_scopes(["query", "emostream:live", "admin", "emostream:", "Query", "other:read"]) == {
        Scope.QUERY,
        Scope.LIVE,
    }
    assert known_scopes([]) == frozenset()
