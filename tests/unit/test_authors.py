"""What stands in a post as its author, and what a deletion of its account looks for."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from streams.errors import SettingsError
from streams.ingest.authors import HASH_CHARS, Authors
from streams.records.values import MAX_ID_CHARS
from tests.helpers import make_settings

KEY = "0123456789abcdef"
FORMER = "fedcba9876543210"


def test_a_hash_needs_the_key_and_is_the_same_for_the_same_account() -> None:
    authors = Authors("hash", KEY)
    found = authors.written("bluesky", "did:plc:1")
    assert found == hmac.new(KEY.encode(), b"bluesky:did:plc:1", hashlib.sha256).hexdigest()[:HASH_CHARS]
    assert found == authors.written("bluesky", "did:plc:1")
    others = [
        authors.written("mastodon", "did:plc:1"),
        authors.written("bluesky", "did:plc:2"),
        Authors("hash", FORMER).written("bluesky", "did:plc:1"),
    ]
    assert len({found, *others}) == 4
    assert authors.written("bluesky", "x" * 10_000) is not None
    assert authors.written("bluesky", "\ud800") is not None


def test_without_a_key_there_are_no_hashes() -> None:
    authors = Authors("hash")
    assert authors.omitted_for_want_of_a_key
    assert authors.written("bluesky", "did:plc:1") is None
    assert authors.erasable("bluesky", "did:plc:1") == ()


def test_authors_may_be_left_out_or_written_as_they_are() -> None:
    for authors in (Authors("omit", KEY), Authors("plain", KEY), Authors("hash", KEY)):
        assert not authors.omitted_for_want_of_a_key
        assert authors.written("bluesky", None) is authors.written("bluesky", "") is None
        assert authors.erasable("bluesky", "") == ()
    assert Authors("omit", KEY).written("bluesky", "did:plc:1") is None
    assert Authors("omit", KEY).erasable("bluesky", "did:plc:1") == ()
    plain = Authors("plain")
    assert plain.written("bluesky", "did:plc:1") == "did:plc:1"
    assert plain.erasable("bluesky", "did:plc:1") == ("did:plc:1",)
    assert plain.written("bluesky", "x" * (MAX_ID_CHARS + 1)) is None, "a part of a name is another account"


def test_a_deletion_looks_for_the_hashes_of_both_keys() -> None:
    before, now = Authors("hash", FORMER), Authors("hash", KEY, FORMER)
    wanted = (now.written("bluesky", "a"), before.written("bluesky", "a"))
    assert now.erasable("bluesky", "a") == wanted
    assert Authors("hash", None, FORMER).erasable("bluesky", "a") == ()


def test_the_settings_decide() -> None:
    assert Authors.of(make_settings()).omitted_for_want_of_a_key
    hashed = Authors.of(make_settings(author_key=KEY, author_former_key=FORMER))
    assert hashed.erasable("rss", "Ann") == Authors("hash", KEY, FORMER).erasable("rss", "Ann")
    assert Authors.of(make_settings(authors="plain")).written("rss", "Ann") == "Ann"


@pytest.mark.parametrize("name", ["author_key", "author_former_key"])
def test_a_short_key_is_refused_without_being_shown(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings(**{name: "hunter-hunter"})
    assert f"EMOSTREAM_{name.upper()}: has fewer than 16 characters" in str(caught.value)
    assert "hunter" not in str(caught.value)
