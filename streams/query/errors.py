"""The errors of answers.

streams.errors.EmostreamError
└── QuestionError            the question cannot be asked: its keyword, its limit or its start is wrong
connectors.errors.UnavailableError
└── NoAnswerError            neither the window tables nor the history can tell anything now
"""

from __future__ import annotations

from connectors.errors import UnavailableError
from streams.errors import EmostreamError


class QuestionError(EmostreamError):
    """A question cannot be asked. The message is one line and does not quote the keyword.

    Attributes:
        field: the part of the question that is wrong: `keyword`, `limit` or `since`.
    """

    def __init__(self, field: str, problem: str) -> None:
        """`problem` says what is wrong with the field."""
        super().__init__(f"{field}: {problem}")
        self.field = field


class NoAnswerError(UnavailableError):
    """Neither the window tables in Redis nor the history in Postgres can tell anything now. The message names both."""
