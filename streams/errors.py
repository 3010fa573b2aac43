"""What stops the application, and where each kind of error comes from.

    EmostreamError                  raised by streams: one clear line for the user
    ├── SettingsError               a setting is unknown, malformed or impossible
    ├── InputError                  a file or an argument the user gave cannot be used
    ├── TopologyError               topics, partition counts or stores that contradict each other
    ├── BackfillBusyError           another process is filling holes
    ├── BackfillStoppedError        somebody stopped the backfill
    ├── RebuildRefusedError         the window tables cannot be rebuilt now
    ├── MeasurementError            a figure of this machine could not be taken
    ├── HolesError                  the history lacks something
    └── AuditError                  the books do not balance
    connectors.errors.ConnectorError    an outside system (its own tree)
    models.errors.ModelError            a model package (its own tree)

The command line prints any of the three roots as a single line and exits 1. Everything else is a defect of ours and
keeps its stack trace.
"""

from __future__ import annotations

from connectors.errors import ConnectorError
from models.errors import ModelError


class EmostreamError(Exception):
    """Something the user can act on; the message is one line."""


class SettingsError(EmostreamError):
    """A setting is unknown, malformed or impossible. `problems` holds one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class InputError(EmostreamError):
    """A file or an argument that the user gave cannot be used."""


class TopologyError(EmostreamError):
    """Topics, partition counts or stores contradict each other; going on could miscount."""


class BackfillBusyError(EmostreamError):
    """Another process is filling holes in Postgres."""


class BackfillStoppedError(EmostreamError):
    """The backfill was stopped; what it has filled stays."""


class HolesError(EmostreamError):
    """Postgres lacks something of what the sink has been through."""


class RebuildRefusedError(EmostreamError):
    """The window tables cannot be rebuilt now; those in force stay in force."""


class MeasurementError(EmostreamError):
    """A figure of this machine could not be taken, so there is nothing to size by."""


class AuditError(EmostreamError):
    """The audit found records that are missing or counted twice."""


USER_ERRORS: tuple[type[Exception], ...] = (EmostreamError, ConnectorError, ModelError)
"""The roots of the three error trees: what the command line reports without a stack trace."""
