"""The errors that a user of the application can act on.

    EmostreamError                  the root of the errors that `streams` raises
    ├── SettingsError               a setting is unknown or malformed, or contradicts another setting
    ├── InputError                  a file or an argument that the user gave cannot be used
    ├── TopologyError               topics, partition counts or stores contradict each other
    ├── BackfillBusyError           another process is running a backfill
    ├── BackfillStoppedError        the backfill was stopped before its end
    ├── RebuildRefusedError         the window tables cannot be rebuilt now
    ├── MeasurementError            a benchmark could not take a measurement
    ├── DeadlineExceededError       an answer was not there in time; the same question may be answered later
    ├── ShuttingDownError           the process stops, and gives no more answers
    ├── HolesError                  Postgres lacks rows or windows
    └── AuditError                  the audit found posts or windows that are missing, extra or changed
    connectors.errors.ConnectorError    an outside system failed; the root of a tree of its own
    models.errors.ModelError            a model package cannot be used; the root of a tree of its own

The command line prints an error of these three trees as one line and exits with code 1. Any other exception is a defect
in emostream and is printed with its stack trace.
"""

from __future__ import annotations

from connectors.errors import ConnectorError
from models.errors import ModelError


class EmostreamError(Exception):
    """An error that the user can act on. The message is one line."""


class SettingsError(EmostreamError):
    """A setting is unknown or malformed, or contradicts another setting.

    Attributes:
        problems: one line for each setting that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class InputError(EmostreamError):
    """A file or an argument that the user gave cannot be used."""


class TopologyError(EmostreamError):
    """Topics, partition counts or stores contradict each other, so that posts could be counted wrongly."""


class BackfillBusyError(EmostreamError):
    """Another process is running a backfill; only one may run at a time."""


class BackfillStoppedError(EmostreamError):
    """The backfill was stopped before its end. What it has written stays."""


class DeadlineExceededError(EmostreamError):
    """An answer was not there in time. The same question may be answered later."""


class ShuttingDownError(EmostreamError):
    """The process stops, and gives no more answers."""


class HolesError(EmostreamError):
    """Postgres lacks rows or windows that the sink should have written."""


class RebuildRefusedError(EmostreamError):
    """The window tables cannot be rebuilt now. The workers keep the current tables."""


class MeasurementError(EmostreamError):
    """A benchmark could not take a measurement on this machine, so no sizing can be computed."""


class AuditError(EmostreamError):
    """The audit found posts or windows that are missing, extra or changed."""


USER_ERRORS: tuple[type[Exception], ...] = (EmostreamError, ConnectorError, ModelError)
"""The roots of the three error trees. The command line prints their errors without a stack trace."""
