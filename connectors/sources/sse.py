"""Server-sent events: the lines of a stream -> events. Pure.

The format is that of the HTML standard, section 9.2. An event that the connection cuts off is never returned.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """An event.

    Attributes:
        kind: the name of the event; `message` if it has none.
        data: its data. Several lines are joined by a line feed.
        too_large: whether a part of it was longer than the limit, so that the data are incomplete.
    """

    kind: str
    data: str
    too_large: bool = False


class SseParser:
    """Puts events together from lines."""

    def __init__(self, *, max_bytes: int) -> None:
        """Begin before the first line.

        Args:
            max_bytes: the most bytes of data that one event may have, with the line feeds between its lines.
        """
        self._max_bytes = max_bytes
        self._begin()

    def _begin(self) -> None:
        self._kind = ""
        self._data: list[bytes] = []
        self._bytes = 0
        self._too_large = False

    def add(self, line: bytes | None) -> ServerSentEvent | None:
        """Add a line without its end, and return the event that it completes; None if it completes none.

        Comments and events without data are dropped, as the standard says.

        Args:
            line: the line; None for one that was longer than the limit and was dropped.
        """
        if line is None:
            self._too_large = True
            return None
        if not line:
            return self._complete()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._bytes += len(value) + 1
            if self._bytes > self._max_bytes:
                self._too_large = True
                self._data.clear()
            elif not self._too_large:
                self._data.append(value)
        elif field == b"event":
            self._kind = value.decode("utf-8", "replace")
        return None

    def _complete(self) -> ServerSentEvent | None:
        event = None
        if self._data or self._too_large:
            data = b"\n".join(self._data).decode("utf-8", "replace")
            event = ServerSentEvent(self._kind or "message", data, self._too_large)
        self._begin()
        return event
