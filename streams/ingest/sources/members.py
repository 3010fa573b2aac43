"""The processes of an instance of a source: the consumer group of its lease, and what its members tell."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

from streams.settings import Settings


class Process(NamedTuple):
    """A process that runs an instance, or waits until it may.

    Attributes:
        host: the name of its machine; the address that Kafka sees, if the client is of an earlier version.
        pid: its process id there; None if it is not known.
    """

    host: str
    pid: int | None


def lease_group(settings: Settings, instance: str) -> str:
    """Returns the consumer group in which the processes of an instance wait for its lease."""
    return f"{settings.group_prefix}-source-{instance}"


def client_id(group: str) -> str:
    """Returns the client id of this process in the group."""
    return f"{group}-{socket.gethostname()}-{os.getpid()}"


def process_of(group: str, client: str, address: str) -> Process:
    """Returns the process that a member of the group is, by its client id and the address that Kafka sees."""
    host, _, pid = client.removeprefix(f"{group}-").rpartition("-")
    if client.startswith(f"{group}-") and host and pid.isdecimal():
        return Process(host, int(pid))
    return Process(address.lstrip("/"), None)
