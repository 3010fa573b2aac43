"""The state of the whole application: what goes in and out, what waits, and why."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, ConfigDict, Field

from api.models.base import ApiModel
from api.models.windows import ServedModelInfo

_PROBLEM = Field(None, description="Why the figures are missing; null if they are not.")


class PostFigures(ApiModel):
    """Posts that come, and how late they are."""

    received_per_second: float | None = Field(None, description="Raw posts a second, over the last `over_s` seconds.")
    per_second: float | None = Field(None, description="Classified posts a second, over the last `over_s` seconds.")
    over_s: float = Field(description="Seconds that both rates are about.")
    newest_event: AwareDatetime | None = Field(
        None, description="Latest creation of the last classified posts; null if there are none."
    )
    newest_classified: AwareDatetime | None = Field(None, description="When the last post was classified.")
    delay_s: float | None = Field(
        None, description="Seconds from the creation of the post that was classified last to its classification."
    )
    problem: str | None = _PROBLEM


class WorkerLag(ApiModel):
    """Posts that wait for a stage of the worker. Stages tell their positions once a second."""

    classify: int | None = Field(None, description="Raw posts that are not classified yet.")
    aggregate: int | None = Field(None, description="Classified posts that no window counts yet.")
    problem: str | None = _PROBLEM


class SinkLag(ApiModel):
    """Records that wait to be written to Postgres. The sink writes while the machine is idle, so some always wait."""

    posts: int | None = Field(None, description="Classified posts that wait.")
    windows: int | None = Field(
        None, description="Offsets of windows that wait, with those of transaction markers: about the states that wait."
    )
    problem: str | None = _PROBLEM


class SinkGate(ApiModel):
    """The gate of the sink: whether the machine is idle enough for it to write."""

    is_open: bool | None = None
    reason: str | None = Field(None, description="Why it is open or closed, as one word, such as `idle` or `busy`.")
    why: str | None = Field(None, description="The reason with its figures.")
    since: AwareDatetime | None = Field(None, description="When it last opened or closed.")
    utilization: float | None = Field(None, description="CPU utilization of everything else, 0 to 1.")
    limit: float | None = Field(None, description="The limit of the utilization, 0 to 1; null for none.")
    health: str | None = Field(None, description="Health of the sink: `ok`, `waiting`, `retrying` or `danger`.")
    problem: str | None = _PROBLEM


class DeadLetters(ApiModel):
    """Posts that could not be classified."""

    total: int | None = Field(None, description="Dead letters that Kafka holds.")
    last_hour: int | None = Field(None, description="Those of the last hour.")
    problem: str | None = _PROBLEM


class WindowSizeInfo(ApiModel):
    """A size of the windows."""

    size: int = Field(description="Seconds from the start to the end of a window.")
    kept_s: int = Field(description="Seconds that a window is kept after its end; the history has it for longer.")


class LiveIntervals(ApiModel):
    """How often a live stream sends at most."""

    windows_s: float = Field(description="Least seconds between two updates with windows.")
    posts_s: float = Field(description="Least seconds between two updates with posts.")
    most_posts: int = Field(description="The most posts in an update; more are skipped and counted.")


_EXAMPLE: dict[str, Any] = {
    "at": "2026-03-01T12:00:00Z",
    "version": "0.1.0",
    "posts": {
        "received_per_second": 49.7,
        "per_second": 49.9,
        "over_s": 10,
        "newest_event": "2026-03-01T11:59:59.912Z",
        "newest_classified": "2026-03-01T11:59:59.964Z",
        "delay_s": 0.052,
        "problem": None,
    },
    "lag": {"classify": 12, "aggregate": 31, "problem": None},
    "sink": {"posts": 1204, "windows": 388, "problem": None},
    "gate": {
        "is_open": None,
        "reason": None,
        "why": None,
        "since": None,
        "utilization": None,
        "limit": None,
        "health": None,
        "problem": "http://127.0.0.1:6065/status: Connection refused",
    },
    "dead": {"total": 3, "last_hour": 0, "problem": None},
    "models": [
        {
            "name": "emotion-minilm-l4",
            "version": "1.0.0",
            "languages": ["en"],
            "configured_for": [],
            "heads": [{"name": "emotion", "labels": ["joy", "sadness"]}],
            "tiers": ["full"],
        }
    ],
    "windows": [{"size": 60, "kept_s": 172_800}],
    "live": {"windows_s": 2.0, "posts_s": 0.25, "most_posts": 200},
}


class StatusAnswer(ApiModel):
    """The state of the application. A part whose server does not answer has a `problem`, and no figures."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    at: AwareDatetime = Field(description="When the figures were read. They are kept for a second.")
    version: str = Field(description="Version of the HTTP service.")
    posts: PostFigures
    lag: WorkerLag
    sink: SinkLag
    gate: SinkGate
    dead: DeadLetters
    models: list[ServedModelInfo] = Field(description="The models that serve, the main one first.")
    windows: list[WindowSizeInfo] = Field(description="The sizes of the windows, the shortest first.")
    live: LiveIntervals
