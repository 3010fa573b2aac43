"""The errors of outside systems.

ConnectorError              base class; the message is one line for the operator
├── UnavailableError        the system did not answer, or cannot do this now; the same call may succeed later
├── RejectedError           the system rejected the call: credentials, rights, an address, a missing topic or bucket
│   └── InvalidDataError    the system rejected the data, which violate a constraint or a type
├── PositionError           two stored offsets contradict each other
├── PositionMismatchError   a stored position is not where a batch starts; the consumer must rewind to it
├── LoadError               the load of this machine, or of its cgroup, cannot be read
└── LocalStackError         an embedded server did not start, did not stop, or lacks its files
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConnectorError(Exception):
    """An outside system failed. The message is one line that names the system and what to do."""


class UnavailableError(ConnectorError):
    """The system did not answer in time, or cannot do this now. The same call may succeed later."""


class RejectedError(ConnectorError):
    """The system rejected the call, and will reject it again until somebody changes the system, a right or a setting.

    A caller stops, or goes on without the answer until somebody helps.
    """


class InvalidDataError(RejectedError):
    """The system rejected the data of the call. The same call with other data may succeed."""


class PositionError(ConnectorError):
    """Two stored offsets contradict each other, so the position is unknown."""


class PositionMismatchError(ConnectorError):
    """A stored position is not where a batch starts: another process moved it, or the store was set back or emptied.

    Nothing was written. The consumer must rewind to the stored position.
    """


class LoadError(ConnectorError):
    """The load of the machine or of the cgroup cannot be read."""


class LocalStackError(ConnectorError):
    """An embedded server could not be started or stopped."""


def most_specific(table: Mapping[Any, T], error: BaseException) -> T | None:
    """Returns the entry of the error's class in the table, or else of its closest base class; None if there is none."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)
