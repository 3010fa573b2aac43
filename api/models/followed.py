"""The keywords that sources search posts for."""

from __future__ import annotations

from pydantic import AwareDatetime, ConfigDict, Field

from api.models.base import ApiModel, Keyword


class FollowRequest(ApiModel):
    """A keyword to follow."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keyword": "coffee"}]})

    keyword: Keyword = Field(description="The keyword, taken literally. Case and width make no difference.")


class FollowedKeyword(ApiModel):
    """A keyword that sources search posts for."""

    keyword: str = Field(description="The keyword as it was added first; posts are counted under this spelling.")
    added_at: AwareDatetime


class FollowAnswer(ApiModel):
    """What following a keyword has done."""

    keyword: str = Field(description="The keyword as it is followed.")
    is_new: bool = Field(description="Whether it was not followed before.")
    total: int = Field(description="Number of keywords that are followed now.")


class UnfollowAnswer(ApiModel):
    """What no longer following a keyword has done."""

    keyword: str
    total: int = Field(description="Number of keywords that are followed now.")


class FollowedAnswer(ApiModel):
    """The keywords that sources search posts for, in the order of their folded forms."""

    keywords: list[FollowedKeyword]
