"""When a message that was not accepted is sent again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Retries:
    """How long to wait between tries.

    Attributes:
        first_s: seconds after the first try.
        most_s: the most seconds, if the receiver does not ask for more.
        most_asked_s: the most seconds that a receiver may ask for.
        give_up_s: seconds after the event in which a message is tried; infinite for ever.
    """

    first_s: float = 5.0
    most_s: float = 900.0
    most_asked_s: float = 3_600.0
    give_up_s: float = 86_400.0

    def wait_s(self, attempt: int, age_s: float, asked_s: float | None, chance: float) -> float | None:
        """Returns the seconds until the next try; None if there is none.

        The wait doubles with each try. A part of it is left to chance, so that messages that failed together do not all
        come again together. The last try is made when the time to give up has come.

        Args:
            attempt: the number of the try that failed, from 1.
            age_s: seconds since the event.
            asked_s: seconds that the receiver asked to wait; None if it did not.
            chance: a random number from 0 to 1.
        """
        left_s = self.give_up_s - age_s
        if left_s <= 0:
            return None
        doubled = self.first_s * 2.0 ** min(attempt - 1, 30)
        wait_s = min(doubled, self.most_s) * (0.5 + chance / 2)
        return min(max(wait_s, min(asked_s or 0.0, self.most_asked_s)), left_s)


class RateLimit:
    """Allows so many messages within any minute."""

    def __init__(self, per_minute: int) -> None:
        """Create a limit with nothing counted."""
        self._most = per_minute
        self._sent: list[float] = []

    def wait_s(self, now: float) -> float:
        """Returns the seconds until another one is allowed. `now` is in seconds, of a clock that never goes back."""
        self._sent = [at for at in self._sent if now - at < 60.0]
        # Not the oldest one: by rounding, more than `most` may be left.
        return 60.0 - (now - self._sent[-self._most]) if len(self._sent) >= self._most else 0.0

    def count(self, now: float) -> None:
        """Count a message that is sent now."""
        self._sent.append(now)
