"""When each request leaves: evenly spaced, and divided among processes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The planned times of one process, in seconds since the start of the load.

    Request `n` of process `part` is request `part + n * parts` of the whole load, so that the processes take turns.

    Attributes:
        rate: requests a second of all processes together.
        warm_up_s: seconds at the beginning whose requests are sent but not counted.
        duration_s: seconds afterwards whose requests are counted.
        part: number of this process, from 0.
        parts: number of processes.
    """

    rate: float
    warm_up_s: float
    duration_s: float
    part: int = 0
    parts: int = 1

    @property
    def count(self) -> int:
        """Requests of this process, with those of the warm-up."""
        whole = math.ceil(round(self.rate * self.end_s, 6))
        return max(0, math.ceil((whole - self.part) / self.parts))

    @property
    def end_s(self) -> float:
        """The end of the load."""
        return self.warm_up_s + self.duration_s

    def at(self, number: int) -> float:
        """Returns the planned time of a request of this process."""
        return (self.part + number * self.parts) / self.rate
