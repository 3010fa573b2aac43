"""A mapping that keeps only the latest keys. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the keys that were set last."""

    def __init__(self, limit: int) -> None:
        """Begin empty.

        Args:
            limit: the most keys, at least 1.
        """
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        """Returns whether the key is kept."""
        return key in self._values

    def get(self, key: K) -> V | None:
        """Returns the value of a key; None if it is not kept."""
        return self._values.get(key)

    def set(self, key: K, value: V) -> None:
        """Set a key, and drop the one that was set first if there are too many."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
