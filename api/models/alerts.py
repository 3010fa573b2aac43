"""Alerts: rules, incidents, mutes and channels.

A rule has the fields and limits of `streams.alerts.rules.rule.Rule`, which this package may not import. A test compares
them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from api.models.base import MAX_KEYWORD_CHARS, ApiModel, Keyword, Moment, Text

MAX_RULE_KEYWORDS = 100
MAX_VALUE = 1e12
MAX_MUTE_S = 366 * 86_400

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""What an id of a rule and the name of a channel look like."""

_NO_NUL = r"^[^\u0000]*$"

RuleId = Annotated[str, StringConstraints(pattern=NAME)]
Severity = Literal["info", "warning", "critical"]
Direction = Literal["above", "below"]
MeasureKind = Literal["volume", "emotion", "sentiment"]

_Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NO_NUL)]
_Watched = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_KEYWORD_CHARS, strip_whitespace=True, pattern=_NO_NUL)
]


class _Part(ApiModel):
    model_config = ConfigDict(allow_inf_nan=False)


class AlertVolume(_Part):
    """The number of posts of a window."""

    of: Literal["volume"] = "volume"


class AlertEmotion(_Part):
    """The share of an emotion among the posts of a window, in percent."""

    of: Literal["emotion"] = "emotion"
    label: _Label


class AlertSentiment(_Part):
    """The share of a sentiment among the posts of a window, in percent."""

    of: Literal["sentiment"] = "sentiment"
    label: _Label


class _Condition(_Part):
    direction: Direction = "above"


class AlertThreshold(_Condition):
    """The value passes `limit`, in posts or in percent. The incident ends beyond `clear`, or beyond `limit`."""

    type: Literal["threshold"] = "threshold"
    limit: float = Field(ge=0, le=MAX_VALUE)
    clear: float | None = Field(None, ge=0, le=MAX_VALUE)


class AlertChange(_Condition):
    """The value differs from what is usual at this hour of the day and of the week.

    `by` and `clear` are in percent of the usual value for a volume, and in percentage points for a share.
    """

    type: Literal["change"] = "change"
    by: float = Field(gt=0, le=MAX_VALUE)
    clear: float | None = Field(None, ge=0, le=MAX_VALUE)


class AlertZScore(_Condition):
    """The value is `z` robust standard deviations from what is usual at this hour of the day and of the week."""

    type: Literal["zscore"] = "zscore"
    z: float = Field(4.0, ge=1, le=100)
    clear: float | None = Field(None, ge=0, le=100)


_RULE_EXAMPLE: dict[str, Any] = {
    "id": "coffee-anger",
    "name": "Anger about coffee",
    "keywords": ["coffee"],
    "window_s": 300,
    "measure": {"of": "emotion", "label": "anger"},
    "condition": {"type": "threshold", "limit": 40, "clear": 30},
    "min_posts": 30,
    "for_windows": 2,
    "cooldown_s": 3600,
    "severity": "warning",
    "channels": [],
}


class AlertRule(_Part):
    """A rule: what is measured, when it is an incident, and whom it is told."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RULE_EXAMPLE]})

    id: RuleId
    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=_NO_NUL)] = (
        Field(description="What people read.")
    )
    keywords: Annotated[tuple[_Watched, ...], Field(min_length=1, max_length=MAX_RULE_KEYWORDS)] | Literal["each"] = (
        Field(description="Keywords, each with incidents of its own; `*` stands for all posts. `each`: every keyword.")
    )
    window_s: int = Field(gt=0, le=31 * 86_400, description="Size of the windows, in seconds.")
    measure: Annotated[AlertVolume | AlertEmotion | AlertSentiment, Field(discriminator="of")]
    condition: Annotated[AlertThreshold | AlertChange | AlertZScore, Field(discriminator="type")]
    min_posts: int = Field(20, ge=0, le=1_000_000_000, description="A window with fewer posts is no data for a share.")
    for_windows: int = Field(1, ge=1, le=1_000, description="The condition must hold in so many windows in a row.")
    cooldown_s: int = Field(
        3_600, ge=0, le=31 * 86_400, description="Seconds after an incident in which no other one of its series begins."
    )
    severity: Severity = "warning"
    channels: Annotated[tuple[RuleId, ...], Field(max_length=50)] = Field(
        (), description="The channels that are told; empty for all."
    )
    enabled: bool = True


class StoredAlertRule(ApiModel):
    """A rule as it is stored. `revision` rises with each change; the ETag of a single rule is its revision."""

    rule: AlertRule
    revision: int
    changed_at: AwareDatetime


class UnreadableAlertRule(ApiModel):
    """A stored rule that the service cannot read, because another version stored it. It is not evaluated."""

    id: str
    error: str


class AlertRulesAnswer(ApiModel):
    """All rules, in the order of their ids."""

    rules: list[StoredAlertRule]
    unreadable: list[UnreadableAlertRule]


class AlertWord(ApiModel):
    """A word of an incident's posts. A `score` above 0 means that it is more frequent now than before."""

    word: str
    score: float
    now: int
    before: int


class AlertPost(ApiModel):
    """A post of an incident."""

    id: str
    source: str
    created_at: AwareDatetime
    text: str | None = None
    label: str | None = None
    confidence: float | None = None
    url: str | None = None


class AlertPoint(ApiModel):
    """The value of one window; null for a window without data."""

    start: AwareDatetime
    posts: int
    value: float | None = None
    usual: float | None = None


class AlertIncident(ApiModel):
    """An incident. `value`, `low`, `high`, `usual` and `limit` are in posts for a volume, in percent for a share."""

    incident: str = Field(description="Its key: rule, keyword, size of the windows and begin.")
    state: Literal["open", "closed"]
    rule: str
    rule_name: str
    revision: int
    severity: Severity
    keyword: str
    size: int = Field(description="Size of the windows, in seconds.")
    measure: MeasureKind
    label: str | None
    direction: Direction
    began: AwareDatetime = Field(description="Start of the first window that fulfils the rule.")
    decided: AwareDatetime = Field(description="End of the window with which the incident was certain.")
    ended: AwareDatetime | None
    ended_because: str | None
    found_at: AwareDatetime = Field(description="When the evaluation found it, by the clock of the server.")
    muted: bool
    posts: int = Field(description="Number of posts of the window with which the incident was certain.")
    value: float
    low: float = Field(description="Lower bound of the interval of 95 % for the value.")
    high: float
    limit: float = Field(description="What the value had to pass.")
    usual: float | None = Field(description="Usual value at this hour; null for a rule that does not use it.")
    z: float | None = Field(description="Distance from the usual value, in robust standard deviations.")
    hours: int = Field(description="Number of hours that tell what is usual.")
    summary: str = Field(description="Why there is an incident, in a sentence.")


class AlertIncidentsAnswer(ApiModel):
    """Incidents, the newest decision first."""

    incidents: list[AlertIncident]
    next_before: str | None = Field(description="`before` of the next page; null on the last one.")


class AlertDelivery(ApiModel):
    """What was told of an incident to one channel; an empty `channel` is the topic `alerts`."""

    event: Literal["opened", "closed"]
    channel: str
    state: Literal["waiting", "delivered", "failed", "muted"]
    attempts: int
    due: AwareDatetime = Field(description="When the next try is made, if it waits.")
    last_error: str | None
    created_at: AwareDatetime
    delivered_at: AwareDatetime | None


class AlertIncidentAnswer(AlertIncident):
    """An incident with the words and the posts that moved the value, its course, and its deliveries."""

    words: list[AlertWord]
    examples: list[AlertPost]
    explained_at: AwareDatetime | None = Field(description="When words and posts were found; null until then.")
    note: str | None = Field(description="Why words or posts are missing.")
    points: list[AlertPoint]
    deliveries: list[AlertDelivery]


class AlertMuteRequest(ApiModel):
    """A mute for a rule, for a keyword, or for a keyword of a rule; for a number of seconds, or until a time."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rule": "coffee-anger", "duration_s": 7200, "reason": "we know; see #412"}]}
    )

    rule: RuleId | None = None
    keyword: Keyword | None = None
    duration_s: int | None = Field(None, ge=1, le=MAX_MUTE_S)
    until: Moment | None = None
    reason: Annotated[Text, StringConstraints(max_length=500, strip_whitespace=True)] = ""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.rule is None and self.keyword is None:
            raise ValueError("give rule, keyword or both")
        if (self.duration_s is None) == (self.until is None):
            raise ValueError("give duration_s or until")
        return self


class AlertMute(ApiModel):
    """A mute. Its incidents are recorded, and told to no channel."""

    id: int
    rule: str | None
    keyword: str | None
    until: AwareDatetime
    reason: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = Field(description="When it was ended before its time; null if it was not.")
    active: bool


class AlertMutesAnswer(ApiModel):
    """Mutes, the newest first."""

    mutes: list[AlertMute]


class AlertChannel(ApiModel):
    """A channel that can be told. Its address is a secret."""

    name: str
    type: str


class AlertChannelsAnswer(ApiModel):
    """The channels of the channels file."""

    channels: list[AlertChannel]


class AlertPreviewRequest(ApiModel):
    """A rule to try on the history, which is not stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rule": _RULE_EXAMPLE, "hours": 168}]})

    rule: AlertRule
    hours: int = Field(168, ge=1, le=31 * 24, description="How many hours of the history, up to its end.")
    keywords: list[Keyword] = Field([], max_length=20, description="Only these keywords; empty for all of the rule.")


class AlertPreviewIncident(ApiModel):
    """An incident that the rule would have found."""

    keyword: str
    began: AwareDatetime
    decided: AwareDatetime
    ended: AwareDatetime | None = Field(description="Null if it is open at the end of the history.")
    ended_because: str | None
    posts: int
    value: float
    low: float
    high: float
    limit: float
    usual: float | None
    z: float | None
    summary: str


class AlertPreviewAnswer(ApiModel):
    """What a rule would have found."""

    since: AwareDatetime = Field(description="Start of the first window that was evaluated.")
    until: AwareDatetime = Field(description="End of the last one.")
    keywords: int
    windows: int
    windows_too_small: int = Field(description="Windows with fewer posts than `min_posts`, for a share.")
    windows_without_baseline: int = Field(description="Windows for which too few hours were known.")
    found: int = Field(description="Number of incidents; `incidents` has the latest 500 of them.")
    per_week: float | None
    notes: list[str] = Field(description="What to know about the history, such as that it begins too late.")
    incidents: list[AlertPreviewIncident]
