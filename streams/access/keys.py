"""API keys: how they look, how they are made, and what is stored of them. Pure.

A key is `emo_<id>_<secret>`: ten characters that may be shown, and 49 that may not. 43 of these are random, more than
256 bits. The last six are a CRC-32 of everything before, so that a mistyped key is refused without a look into
Postgres, and a scanner of repositories knows a key from other text. GitHub's tokens have the same parts:
https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from datetime import date, datetime

from streams.access.scopes import Scope

PREFIX = "emo_"

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH, _RANDOM_LENGTH, _CHECK_LENGTH = 10, 43, 6
_KEY = re.compile(
    rf"({PREFIX}([0-9a-z]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_RANDOM_LENGTH}}}))([0-9A-Za-z]{{{_CHECK_LENGTH}}})"
)
_ID = re.compile(rf"[0-9a-z]{{{_ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A key as somebody gives it.

    Attributes:
        id: the part that may be shown.
        secret: the part that may not.
    """

    id: str
    secret: str = field(repr=False)

    def reveal(self) -> str:
        """Returns the key as its user writes it."""
        return f"{PREFIX}{self.id}_{self.secret}"

    def sha256(self) -> bytes:
        """Returns what is stored of the secret, 32 bytes."""
        return hashlib.sha256(self.secret.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as Postgres has it.

    Attributes:
        id: the part that may be shown.
        name: who uses it.
        sha256: hash of the secret.
        scopes: what it allows.
        requests_per_minute: its limit; None for the default, 0 for none.
        created_at: when it was made.
        expires_at: from when on it is refused; None for never.
        revoked_at: when it was revoked; None if it was not.
        last_used_on: the day, in UTC, on which it was last used.
    """

    id: str
    name: str
    sha256: bytes = field(repr=False)
    scopes: frozenset[Scope]
    requests_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_on: date | None

    def matches(self, given: GivenKey) -> bool:
        """Returns whether the secret is the right one, in a time that does not tell where it differs."""
        return hmac.compare_digest(self.sha256, given.sha256())

    def is_expired(self, now: datetime) -> bool:
        """Returns whether the key is no longer valid at `now`."""
        return self.expires_at is not None and now >= self.expires_at


def new_key() -> GivenKey:
    """Returns a key that nobody has yet."""
    id_ = "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(_ID_LENGTH))
    random = "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_LENGTH))
    return GivenKey(id_, random + _checksum(f"{PREFIX}{id_}_{random}"))


def parse_key(text: str) -> GivenKey | None:
    """Returns the parts of a key; None if `text` is none, or has a typing error."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(match[1]) != match[4]:
        return None
    return GivenKey(match[2], match[3] + match[4])


def is_key_id(text: str) -> bool:
    """Returns whether `text` looks like the id of a key."""
    return _ID.fullmatch(text) is not None


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode("ascii")), ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits
