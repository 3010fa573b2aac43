"""A question: what do people feel about a keyword? Pure."""

from __future__ import annotations

from typing import Self

from streams.query.errors import QuestionError
from streams.records import Record, Timestamp
from streams.records.values import MAX_KEYWORD_CHARS

DEFAULT_LIMIT = 250
MAX_LIMIT = 500


class Question(Record, frozen=True, kw_only=True):
    """What do people feel about a keyword? Make one with `of`, which checks it.

    Attributes:
        keyword: the keyword as posts are counted under it, or `*` for all posts. Each character stands for itself.
        limit: if there are fewer posts than this, more are searched for.
        since: posts that were created from this time on are counted; None for those of the last 24 hours.
    """

    keyword: str
    limit: int = DEFAULT_LIMIT
    since: Timestamp | None = None

    @classmethod
    def of(cls, keyword: str, *, limit: int = DEFAULT_LIMIT, since: Timestamp | None = None) -> Self:
        """Returns a question about a keyword that somebody gives.

        White space around the keyword is removed, as `Keywords.of` removes it from the keywords of posts, so that a
        question finds what the stream counts.

        Raises:
            QuestionError: The keyword is empty, too long or no text, `limit` is not 1 to 500, or `since` is before
                1970.
        """
        if problem := _problem(stripped := keyword.strip()):
            raise QuestionError("keyword", problem)
        if not 1 <= limit <= MAX_LIMIT:
            raise QuestionError("limit", f"is not within 1 and {MAX_LIMIT}")
        if since is not None:
            try:
                since.checked()
            except ValueError as exc:
                raise QuestionError("since", str(exc)) from None
        return cls(keyword=stripped, limit=limit, since=since)


def _problem(keyword: str) -> str | None:
    """Returns why no post can have this keyword; None if one can, or if it stands for all posts."""
    if not keyword:
        return "is empty"
    if len(keyword) > MAX_KEYWORD_CHARS:
        return f"has {len(keyword)} characters; {MAX_KEYWORD_CHARS} are allowed"
    if "\0" in keyword:
        return "has U+0000, which cannot be stored"
    try:
        keyword.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate, which is not a character"
    return None
