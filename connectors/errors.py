"""What can go wrong with an outside system.

ConnectorError              one clear line for the operator
├── UnavailableError        the system did not answer; trying again later may help
├── RejectedError           the system answered no: credentials, rights, a missing topic or bucket
│   └── InvalidDataError    it would take other data: these violate a constraint or a type
├── PositionError           two stored offsets contradict each other, and nothing can be concluded from them
├── PositionMismatchError   a stored position is not where a batch starts; rewinding to it helps
├── LoadError               the load of this machine, or of the cgroup, cannot be read
└── LocalStackError         an embedded server did not start, stop, or find its files
"""


class ConnectorError(Exception):
    """An outside system failed; the message is one line that names it and what to do."""


class UnavailableError(ConnectorError):
    """The system did not answer in time. The same call may succeed later."""


class RejectedError(ConnectorError):
    """The system answered and refused. The same call will be refused again."""


class InvalidDataError(RejectedError):
    """The system refused the data themselves. Others may be taken."""


class PositionError(ConnectorError):
    """Two sources of truth about an offset contradict each other."""


class PositionMismatchError(ConnectorError):
    """A stored position is not where a batch starts: another process moved it, or the store was rolled back or emptied.

    Nothing was written. The consumer rewinds to the stored position.
    """


class LoadError(ConnectorError):
    """The load of the machine or of the cgroup cannot be read."""


class LocalStackError(ConnectorError):
    """An embedded server could not be started or stopped."""
