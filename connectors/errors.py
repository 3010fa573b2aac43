"""The errors of outside systems.

ConnectorError              base class; the message is one line for the operator
├── UnavailableError        the system did not answer; the same call may succeed later
├── RejectedError           the system rejected the call: credentials, rights, a missing topic or bucket
│   └── InvalidDataError    the system rejected the data, which violate a constraint or a type
├── PositionError           two stored offsets contradict each other
├── PositionMismatchError   a stored position is not where a batch starts; the consumer must rewind to it
├── LoadError               the load of this machine, or of its cgroup, cannot be read
└── LocalStackError         an embedded server did not start, did not stop, or lacks its files
"""


class ConnectorError(Exception):
    """An outside system failed. The message is one line that names the system and what to do."""


class UnavailableError(ConnectorError):
    """The system did not answer in time. The same call may succeed later."""


class RejectedError(ConnectorError):
    """The system rejected the call. It will reject the same call again."""


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
