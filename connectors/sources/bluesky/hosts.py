"""The hosts of Jetstream, and which is tried next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

PUBLIC_HOSTS = tuple(
    f"wss://jetstream{number}.{region}.bsky.network/subscribe" for region in ("us-east", "us-west") for number in (1, 2)
)
"""The instances that Bluesky runs for everybody. Their cursors are times, so they are the same on each."""


class Hosts:
    """A list of addresses. The one that worked last is tried first."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """Begin with the first address.

        Args:
            addresses: at least one.
        """
        self._addresses = tuple(addresses)
        self._first = 0

    def in_order(self) -> list[str]:
        """Returns every address, in the order in which they are tried."""
        return [*self._addresses[self._first :], *self._addresses[: self._first]]

    def failed(self, address: str) -> None:
        """Let another address be tried first, if this one was."""
        if self._addresses[self._first] == address:
            self._first = (self._first + 1) % len(self._addresses)

    def worked(self, address: str) -> None:
        """Let this address be tried first."""
        self._first = self._addresses.index(address)
