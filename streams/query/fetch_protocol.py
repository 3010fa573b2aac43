"""What the engine needs of a search for posts: its call, and what it returns. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from connectors.deadline import Deadline
from streams.query.question import Question
from streams.query.sums import Sums
from streams.records import Timestamp


@dataclass(frozen=True)
class Fetched:
    """Posts that were searched and classified for one question.

    Attributes:
        posts: how many posts were classified, those that no model reads included: `sums.count + sums.unsupported`.
        sums: their sums by label and sentiment, and the posts that no model reads.
        complete: False if the search was cut short, for example by the deadline or by a source that failed.
        notes: a sentence for each reason why it was cut short, and for what was left out.
        since: when the oldest of the posts was created; None for the start that the question has.
    """

    posts: int
    sums: Sums
    complete: bool = True
    notes: tuple[str, ...] = field(default=())
    since: Timestamp | None = None


class Fetch(Protocol):
    """Searches the configured sources for posts with a keyword, and classifies them."""

    async def __call__(self, question: Question, deadline: Deadline) -> Fetched | None:
        """Search for up to `question.limit` posts with `question.keyword`, created from `question.since` on.

        It returns by the deadline with what it has, so that an answer need not wait longer.

        Returns:
            What was found; None if no source is configured, or none can search for this keyword.

        Raises:
            ConnectorError: No source can be searched now.
            ModelError: The posts cannot be classified.
        """
        ...
