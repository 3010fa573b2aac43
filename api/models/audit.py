"""The result of the last audit."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from api.models.base import ApiModel


class AuditCheck(ApiModel):
    """One check of the audit."""

    name: str
    expected: int
    found: int
    ok: bool
    note: str


class AuditAnswer(ApiModel):
    """The result of the last `emostream audit`."""

    at: AwareDatetime = Field(description="When the audit ended.")
    ok: bool = Field(description="Whether every check succeeded.")
    checks: list[AuditCheck]
