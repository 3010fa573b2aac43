"""The rules of alerts: what is measured, when it is an incident, and whom it is told. Pure.

A rule watches the windows of one size. Each keyword that it watches is a series of its own, with incidents of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from streams.records import ALL_KEYWORDS
from streams.records.values import MAX_KEYWORD_CHARS
from streams.window_sizes import MAX_SIZE_S

MAX_RULE_KEYWORDS = 100
"""The most keywords that one rule names. A rule for more of them watches each keyword."""

MAX_VALUE = 1e12
"""The largest limit and change, in posts or percent. Larger ones could not be drawn or printed."""

MAX_COMPARED_S = 9 * 86_400
"""The longest windows, in seconds, for which the last two weeks tell what is usual."""

EACH_KEYWORD = "each"
"""Stands for every keyword that has windows, each as a series of its own. All posts together are not among them."""

RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
ChannelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\u0000]*$")]
WatchedKeyword = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_KEYWORD_CHARS, strip_whitespace=True, pattern=r"^[^\u0000]*$")
]


class Direction(StrEnum):
    """On which side of its limit a value is an incident."""

    ABOVE = "above"
    BELOW = "below"


class Severity(StrEnum):
    """How urgent an incident is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Volume(_Part):
    """The number of posts of a window. A window without posts has 0, if there are posts of other keywords."""

    of: Literal["volume"] = "volume"


class EmotionShare(_Part):
    """The share of one emotion among the posts of a window that have one, in percent."""

    of: Literal["emotion"] = "emotion"
    label: Label


class SentimentShare(_Part):
    """The share of one sentiment among the posts of a window that have one, in percent."""

    of: Literal["sentiment"] = "sentiment"
    label: Label


Measure = Annotated[Volume | EmotionShare | SentimentShare, Field(discriminator="of")]


class _Condition(_Part):
    direction: Direction = Direction.ABOVE


class Threshold(_Condition):
    """The value passes a fixed limit: it is greater, or less, than the limit.

    `limit` and `clear` are in posts for a volume, and in percent for a share. An incident ends at `clear` or on the
    other side of it; without it, at `limit`.
    """

    type: Literal["threshold"] = "threshold"
    limit: float = Field(ge=0, le=MAX_VALUE)
    clear: float | None = Field(None, ge=0, le=MAX_VALUE)


class Change(_Condition):
    """The value differs by `by` or more from the usual one of this hour of the day and of the week.

    `by` and `clear` are in percent of the usual value for a volume, and in percentage points for a share. An incident
    ends if the difference is less than `clear`; without it, less than half of `by`.
    """

    type: Literal["change"] = "change"
    by: float = Field(gt=0, le=MAX_VALUE)
    clear: float | None = Field(None, ge=0, le=MAX_VALUE)


class RobustZScore(_Condition):
    """The value is unusual: `z` or more standard deviations from the usual one of this hour of the day and of the week.

    Median and median absolute deviation of the hours before are the usual value and its spread, so a few extreme hours
    do not change them. An incident ends below `clear`; without it, below half of `z`.
    """

    type: Literal["zscore"] = "zscore"
    z: float = Field(4.0, ge=1, le=100)
    clear: float | None = Field(None, ge=0, le=100)


Condition = Annotated[Threshold | Change | RobustZScore, Field(discriminator="type")]


class Rule(_Part):
    """A rule.

    Attributes:
        id: its identifier, in addresses and in the keys of its incidents.
        name: what people read.
        keywords: keywords, each as a series; `*` stands for all posts together. `each`: every keyword.
        window_s: size of the windows, in seconds; one of the sizes that the system counts.
        measure: what is measured.
        condition: when it is an incident.
        min_posts: a window with fewer posts is no data for a share: it neither begins nor ends an incident. For a
            volume above its limit, such a window begins no incident; for one below, this has no meaning.
        for_windows: the condition must hold in so many consecutive windows.
        cooldown_s: seconds of event time after the end of an incident, in which the series begins no other.
        severity: how urgent its incidents are.
        channels: the channels that are told; empty for all.
        enabled: whether the rule is evaluated.
    """

    id: RuleId
    name: Annotated[
        str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\u0000]*$")
    ]
    keywords: Annotated[tuple[WatchedKeyword, ...], Field(min_length=1, max_length=MAX_RULE_KEYWORDS)] | Literal["each"]
    window_s: int = Field(gt=0, le=MAX_SIZE_S)
    measure: Measure
    condition: Condition
    min_posts: int = Field(20, ge=0, le=1_000_000_000)
    for_windows: int = Field(1, ge=1, le=1_000)
    cooldown_s: int = Field(3_600, ge=0, le=31 * 86_400)
    severity: Severity = Severity.WARNING
    channels: Annotated[tuple[ChannelName, ...], Field(max_length=50)] = ()
    enabled: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.keywords, tuple) and len(set(self.keywords)) != len(self.keywords):
            raise ValueError("keywords: names a keyword twice")
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("channels: names a channel twice")
        condition, is_share = self.condition, not isinstance(self.measure, Volume)
        below = condition.direction is Direction.BELOW
        if isinstance(condition, Threshold):
            if is_share and max(condition.limit, condition.clear or 0) > 100:
                raise ValueError("condition: a share is at most 100 percent")
            clear = condition.limit if condition.clear is None else condition.clear
            if (clear < condition.limit) if below else (clear > condition.limit):
                raise ValueError(f"condition: clear must not be {condition.direction} limit")
        elif condition.clear is not None and condition.clear > self._fires_at(condition):
            raise ValueError("condition: clear must not be greater than what begins an incident")
        elif self.window_s > MAX_COMPARED_S:
            raise ValueError(f"window_s: only windows of up to {MAX_COMPARED_S} s can be compared with what is usual")
        if below and not is_share and self.keywords == EACH_KEYWORD:
            raise ValueError("keywords: name the keywords of a rule for a low volume; `each` has no end of silent ones")
        return self

    @staticmethod
    def _fires_at(condition: Change | RobustZScore) -> float:
        return condition.by if isinstance(condition, Change) else condition.z

    def watches(self, keyword: str) -> bool:
        """Returns whether the rule watches the windows of a keyword."""
        if self.keywords == EACH_KEYWORD:
            return keyword != ALL_KEYWORDS
        return keyword in self.keywords
