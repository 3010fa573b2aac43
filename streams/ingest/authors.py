"""Decides what a post has as its author: a keyed hash, nothing, or the account itself. Pure.

The hash is the same for all posts of an account, so they can be counted and erased together. Without the key nobody
finds the account. The hash is the first 128 bits of HMAC-SHA256 (RFC 2104) over `<source>:<account>`, in hexadecimal.
"""

from __future__ import annotations

import hmac
from typing import Literal

from streams.records.values import MAX_ID_CHARS
from streams.settings import Settings

HASH_CHARS = 32
"""Characters of a hash."""


class Authors:
    """Decides what is written as the author of a post.

    Attributes:
        omitted_for_want_of_a_key: whether authors are left out because there is no key to hash them with.
    """

    def __init__(
        self, mode: Literal["hash", "omit", "plain"], key: str | None = None, former_key: str | None = None
    ) -> None:
        """Prepare.

        Args:
            mode: what is written: a `hash`, nothing (`omit`), or the account itself (`plain`).
            key: the key of the hashes; without one, `hash` writes nothing.
            former_key: the key that was used before; None if there was none.
        """
        self._plain = mode == "plain"
        keys = [key, former_key] if mode == "hash" and key is not None else []
        self._keys = [each.encode("utf-8", "surrogatepass") for each in keys if each is not None]
        self.omitted_for_want_of_a_key = mode == "hash" and key is None

    @classmethod
    def of(cls, settings: Settings) -> Authors:
        """Returns the authors that the settings ask for."""
        key, former = settings.author_key, settings.author_former_key
        return cls(
            settings.authors,
            None if key is None else key.get_secret_value(),
            None if former is None else former.get_secret_value(),
        )

    def written(self, source: str, account: str | None) -> str | None:
        """Returns the author of a new post of a source; None if the post gets none.

        An account whose name is too long for a record gets none if names are written as they are, because a part of it
        is another account.
        """
        if not account:
            return None
        if self._plain:
            return account if len(account) <= MAX_ID_CHARS else None
        return _hash(self._keys[0], source, account) if self._keys else None

    def erasable(self, source: str, account: str) -> tuple[str, ...]:
        """Returns the authors that stored posts of an account may have: with the present key and with the former one.

        Returns none if posts have no authors. Then the posts of a deleted account cannot be found.
        """
        if self._keys and account:
            return tuple(_hash(key, source, account) for key in self._keys)
        written = self.written(source, account)
        return () if written is None else (written,)


def _hash(key: bytes, source: str, account: str) -> str:
    message = f"{source}:{account}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256").hex()[:HASH_CHARS]
