"""The errors of the client.

ApiError                    the service answered with an error, whose problem document it carries, or with nonsense
└── ApiConnectionError      the service did not answer
"""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from api.models.base import Problem


class ApiError(Exception):
    """The service answered with an error, or with something that is no answer of it. The message is one line.

    Attributes:
        status: the HTTP status; 0 if there was none.
        problem: the problem document (RFC 9457); None if the answer had none.
        retry_after_s: seconds after which the service asks to try again; None if it does not say.
    """

    def __init__(
        self, message: str, *, status: int = 0, problem: Problem | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s

    @classmethod
    def of(cls, answer: httpx.Response, body: bytes) -> ApiError:
        """Returns the error of an answer with this body."""
        try:
            problem = Problem.model_validate_json(body)
        except ValidationError:
            problem = None
        detail = problem.detail if problem is not None else answer.reason_phrase
        after = answer.headers.get("retry-after", "")
        return cls(
            f"{answer.request.method} {answer.url.path}: {answer.status_code}: {detail}",
            status=answer.status_code,
            problem=problem,
            retry_after_s=float(after) if after.isascii() and after.isdigit() else None,
        )


class ApiConnectionError(ApiError):
    """The service did not answer. The same call may succeed later."""
