"""The messages of a live stream."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.models.windows import Window


class LivePost(BaseModel):
    """A post that was just classified. It has more members, as on the topic `posts.classified`."""

    id: str
    source: str
    keywords: list[str]
    text: str | None = None
    label: str | None
    confidence: float | None


class LiveMessage(BaseModel):
    """A message of a live stream."""

    id: str = Field(description="Resumes the stream after this message.")
    event: Literal["update", "gap"] = Field(description="After a `gap`, read the windows again: some may be missing.")
    windows: list[Window] = Field([], description="Windows that have changed, each in its newest state.")
    posts: list[LivePost] = Field([], description="New posts.")
    skipped_posts: int = Field(
        0,
        description="Posts that were left out since the last update, because there are too many. Some of them may not "
        "have the keywords of the client.",
    )
    reason: str | None = Field(None, description="Why there is a gap.")
