"""The record of the control topic: a command to the workers. Pure."""

from __future__ import annotations

from enum import StrEnum

from streams.records.base import Record


class ControlCommand(StrEnum):
    """The commands that an operator can give to the workers."""

    REPUBLISH_WINDOWS = "republish_windows"


class ControlRecord(Record, frozen=True):
    """A command to the workers (the control topic). One worker carries it out."""

    command: ControlCommand
