"""The types of fields that several records share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from msgspec import Meta

ALL_KEYWORDS = "*"
"""The keyword of the windows that count all posts. A post cannot name it among its own keywords."""

NO_NUL = {"pattern": r"^[^\u0000]*$"}
"""The part of a JSON Schema that refuses U+0000 in a text."""

MAX_KEYWORDS = 64
MAX_KEYWORD_CHARS = 200
MAX_ID_CHARS = 512
MAX_SOURCE_CHARS = 200
MAX_LANG_CHARS = 35
MAX_URL_CHARS = 4_096

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]

MAX_COUNT = 2**63 - 2
"""The greatest offset or count. The number after it still fits into 64 bits, in Kafka as in Postgres."""

Offset = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]


class Keywords(tuple[str, ...]):
    """The keywords of a post, stripped of white space, without empty ones and repetitions."""

    __slots__ = ()

    @classmethod
    def of(cls, given: Iterable[object]) -> Self:
        """Strip keywords of white space, and drop empty ones and repetitions.

        Raises:
            ValueError: A keyword is not a string, too long, or `ALL_KEYWORDS`, or there are more than `MAX_KEYWORDS`.
        """
        cleaned: dict[str, None] = {}
        for word in given:
            if not isinstance(word, str):
                raise ValueError("holds a keyword that is not a string")
            if len(word) > MAX_KEYWORD_CHARS:
                raise ValueError(f"holds a keyword of {len(word)} characters; {MAX_KEYWORD_CHARS} are allowed")
            if stripped := word.strip():
                cleaned[stripped] = None
        if len(cleaned) > MAX_KEYWORDS:
            raise ValueError(f"has {len(cleaned)} keywords; {MAX_KEYWORDS} are allowed")
        if ALL_KEYWORDS in cleaned:
            raise ValueError(f"'{ALL_KEYWORDS}' stands for all posts and cannot be a keyword")
        return cls(cleaned)
