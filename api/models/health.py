"""The health of the service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.models.base import ApiModel


class ReadinessPart(ApiModel):
    """One part that the service needs."""

    name: str
    ok: bool
    required: bool = Field(description="Whether the service is not ready without it.")
    reason: str | None = Field(description="Why it is not ok.")


class Readiness(ApiModel):
    """Whether the service can answer, part by part."""

    status: Literal["ready", "degraded", "not ready"]
    parts: list[ReadinessPart]


class Liveness(ApiModel):
    """The process answers."""

    status: Literal["alive"] = "alive"
