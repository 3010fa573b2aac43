"""The commands to the workers. Pure."""

from __future__ import annotations

from enum import StrEnum

from streams.records.base import Record


class ControlCommand(StrEnum):
    """What an operator can ask of the workers."""

    REPUBLISH_WINDOWS = "republish_windows"


class ControlRecord(Record, frozen=True):
    """A command to the workers (the control topic). One of them carries it out."""

    command: ControlCommand
